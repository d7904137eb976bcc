/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * A machine that a test makes up: nodes, which of them have memory, where the CPUs are, and how far apart all is; and a
 * recorder in the place of mbind.
 */
#ifndef NEAR_TEST_MACHINE_H
#define NEAR_TEST_MACHINE_H

#include "unit.h"

#define NODE_WORDS (OS_NODE_NUMBERS / 64)

struct made_up {
	unsigned nodes, cpus;
	uint64_t memory[NODE_WORDS];
	int node_of_cpu[OS_MAX_CPUS];
	int (*distance)(int from, int to);
};

static struct made_up made_up;

static inline bool made_up_memory(int node)
{
	return bit_test(made_up.memory, (unsigned)node);
}

static inline int made_up_node_of_cpu(int cpu)
{
	return cpu < OS_MAX_CPUS ? made_up.node_of_cpu[cpu] : -1;
}

/* Along a line. */
static inline int apart_by_number(int from, int to)
{
	return 10 + (from < to ? to - from : from - to);
}

/* Nodes 0 to nodes - 1 without memory, CPUs 0 to cpus - 1 of which nothing is known. */
static inline void machine_begin(unsigned nodes, unsigned cpus)
{
	made_up = (struct made_up){.nodes = nodes, .cpus = cpus, .distance = apart_by_number};
	for (unsigned cpu = 0; cpu < OS_MAX_CPUS; cpu++)
		made_up.node_of_cpu[cpu] = -1;
}

static inline void machine_memory(unsigned node)
{
	near__bits_set(made_up.memory, node, 1);
}

static inline void machine_cpus(unsigned first, unsigned cpus, unsigned node)
{
	for (unsigned cpu = first; cpu < first + cpus; cpu++)
		made_up.node_of_cpu[cpu] = (int)node;
}

/* `nodes` nodes with memory and two CPUs each. */
static inline void machine_of(unsigned nodes)
{
	machine_begin(nodes, 2 * nodes);
	for (unsigned node = 0; node < nodes; node++) {
		machine_memory(node);
		machine_cpus(2 * node, 2, node);
	}
}

static inline bool machine_arrange(const uint64_t *named)
{
	const struct os_machine machine = {.nodes = made_up.nodes,
					   .cpus = made_up.cpus,
					   .has_memory = made_up_memory,
					   .node_of_cpu = made_up_node_of_cpu,
					   .distance = made_up.distance};

	return near__numa_arrange(&machine, named);
}

/* Heaps and caches for all nodes of the made up machine; before anything was allocated, or early. */
static inline void machine_start(void)
{
	cr_assert(machine_arrange(NULL));
	for (unsigned node = 0; node < near__topology.nodes; node++)
		cr_assert(near__heap_start(node));
	near__nodes = near__topology.nodes;
	cr_assert(near__cache_start());
}

static inline void unit_pin(unsigned cpu)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	cr_assert_eq(sched_setaffinity(0, sizeof(one), &one), 0);
}

/* The n-th CPU that we may run on; -1: there are fewer. */
static inline int unit_cpu(unsigned n)
{
	cpu_set_t allowed;

	cr_assert_eq(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (CPU_ISSET(cpu, &allowed) && !n--)
			return cpu;
	}
	return -1;
}

/* ---- real CPUs ------------------------------------------------------------------------------------- */

static unsigned cpu_of[2]; /* one of each node */

static inline int third_is_nearer(int from, int to)
{
	return from == to ? 10 : 30 - to;
}

/*
 * Two CPUs that we may run on belong to nodes 0 and 1. A third node would be nearer to both than the other. Nothing is
 * bound: these nodes need not be there.
 */
static inline void machine_around_us(unsigned nodes)
{
	if (unit_cpu(1) < 0)
		cr_skip_test("needs two CPUs");
	machine_begin(nodes, OS_MAX_CPUS);
	for (unsigned node = 0; node < nodes; node++) {
		machine_memory(node);
		machine_cpus(OS_MAX_CPUS - 1 - node, 1, node);
	}
	for (unsigned node = 0; node < 2; node++) {
		cpu_of[node] = (unsigned)unit_cpu(node);
		machine_cpus(cpu_of[node], 1, node);
	}
	made_up.distance = third_is_nearer;
	machine_start();
	near__topology.bound = false;
}

/* Goes to the node's CPU. */
static inline struct cpu_table *unit_on_node(unsigned node)
{
	struct cpu_table *table;

	unit_pin(cpu_of[node]);
	table = near__cache_table();
	cr_assert_not_null(table);
	cr_assert_eq(table->cpu, cpu_of[node]);
	cr_assert_eq(table->node, node);
	return table;
}

/* ---- mbind ---------------------------------------------------------------------------------------- */

#if NEAR_WITH_NUMA
#include <linux/mempolicy.h>
#include <sys/mman.h>

struct binding {
	uintptr_t start;
	size_t bytes;
	int policy;
	unsigned node, flags; /* the kernel's number */
	bool resident;	      /* all of it, at that moment */
};

enum { BINDINGS_MOST = 8192 };

static struct binding bindings[BINDINGS_MOST];
static unsigned bindings_made;
static int prefer_answer, strict_answer, bind_answer; /* what mbind is to return */

static inline bool is_resident(uintptr_t start, size_t bytes)
{
	unsigned char page;

	for (size_t at = 0; at < bytes; at += near__os_page_size) {
		if (mincore((void *)(start + at), near__os_page_size, &page) || !(page & 1))
			return false;
	}
	return true;
}

static inline int record_binding(void *start, size_t bytes, int policy, unsigned node, unsigned flags)
{
	cr_assert_lt(bindings_made, BINDINGS_MOST);
	bindings[bindings_made++] =
		(struct binding){.start = (uintptr_t)start,
				 .bytes = bytes,
				 .policy = policy,
				 .node = node,
				 .flags = flags,
				 .resident = policy == MPOL_BIND && is_resident((uintptr_t)start, bytes)};
	if (policy != MPOL_BIND)
		return prefer_answer;
	return flags & MPOL_MF_MOVE || bind_answer ? bind_answer : strict_answer;
}

/* How many recorded calls touch the range. */
static inline unsigned bindings_of(uintptr_t start, size_t bytes)
{
	unsigned n = 0;

	for (unsigned i = 0; i < bindings_made; i++)
		n += bindings[i].start < start + bytes && start < bindings[i].start + bindings[i].bytes;
	return n;
}

static inline bool binding_is(unsigned i, uintptr_t start, size_t bytes, int policy, unsigned node, unsigned flags)
{
	const struct binding *b = &bindings[i];

	return i < bindings_made && b->start == start && b->bytes == bytes && b->policy == policy && b->node == node &&
	       b->flags == flags;
}
#endif

#endif
