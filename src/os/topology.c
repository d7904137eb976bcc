/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* Nodes in the order in which we number them, and which of them a CPU uses; from what somebody else found out. */
#include "base/atomic.h"
#include "base/bits.h"
#include "os/kernel.h"
#include "os/os.h"

enum { DISTANCE_UNKNOWN = 255 };

struct topology near__topology = {.nodes = 1};

static int no_distance(int from, int to)
{
	(void)from, (void)to;
	return 0;
}

static int (*machine_distance)(int, int) = no_distance;

unsigned near__numa_distance(unsigned from, unsigned to)
{
	int d = machine_distance(near__topology.kernel_node[from], near__topology.kernel_node[to]);

	return d > 0 ? (unsigned)d : 0;
}

static int distance_or_far(int from, int to)
{
	int d = machine_distance(from, to);

	return d > 0 ? d : DISTANCE_UNKNOWN;
}

static bool is_named(const uint64_t *named, unsigned node)
{
	return !named || bit_test(named, node);
}

static bool any_named(const uint64_t *named)
{
	return named && bits_next_set(named, 0, OS_NODE_NUMBERS) < OS_NODE_NUMBERS;
}

/* Nodes with memory among those that the user named, or all. */
static void number_nodes(const struct os_machine *machine, const uint64_t *named)
{
	struct topology *t = &near__topology;

	t->nodes = 0;
	for (unsigned k = 0; k < machine->nodes && k < OS_NODE_NUMBERS && t->nodes < OS_MAX_NODES; k++) {
		if (is_named(named, k) && machine->has_memory((int)k))
			t->kernel_node[t->nodes++] = (uint16_t)k;
	}
}

/*
 * A node without CPUs is a pool of slower memory (CXL, persistent memory): for those who name it. If there is nothing
 * but such nodes they are ordinary.
 */
static void set_apart(const struct os_machine *machine, bool named)
{
	static uint64_t has_cpu[OS_NODE_NUMBERS / 64];
	struct topology *t = &near__topology;
	unsigned apart = 0;

	near__bits_clear(has_cpu, 0, OS_NODE_NUMBERS);
	for (unsigned cpu = 0; cpu < machine->cpus; cpu++) {
		int k = machine->node_of_cpu((int)cpu);

		if (k >= 0 && k < OS_NODE_NUMBERS)
			near__bits_set(has_cpu, (unsigned)k, 1);
	}
	for (unsigned i = 0; i < t->nodes; i++)
		apart += t->apart[i] = !named && !bit_test(has_cpu, t->kernel_node[i]);
	for (unsigned i = 0; apart == t->nodes && i < t->nodes; i++)
		t->apart[i] = false;
}

static unsigned nearest(unsigned kernel_node)
{
	const struct topology *t = &near__topology;
	int best_distance = INT32_MAX;
	unsigned best = 0;

	for (unsigned i = 0; i < t->nodes; i++) {
		int d = distance_or_far((int)kernel_node, t->kernel_node[i]);

		if (t->kernel_node[i] == kernel_node)
			return i;
		if (!t->apart[i] && d < best_distance) {
			best = i;
			best_distance = d;
		}
	}
	return best;
}

bool near__numa_arrange(const struct os_machine *machine, const uint64_t *named)
{
	struct topology *t = &near__topology;
	bool by_name = any_named(named);

	machine_distance = machine->distance;
	number_nodes(machine, by_name ? named : NULL);
	if (by_name && !t->nodes) {
		near__warn("nodes: none of them has memory that we may use; all are used");
		by_name = false;
		number_nodes(machine, NULL);
	}
	t->bound = by_name || t->nodes > 1;
	if (!t->nodes) {
		t->nodes = 1;
		return false;
	}
	set_apart(machine, by_name);
	for (unsigned k = 0; k < OS_NODE_NUMBERS; k++)
		t->near_node[k] = k < machine->nodes ? (uint16_t)nearest(k) : 0;
	for (unsigned cpu = 0; cpu < machine->cpus && cpu < OS_MAX_CPUS; cpu++) {
		int k = machine->node_of_cpu((int)cpu);

		t->node_of_cpu[cpu] = k >= 0 && k < OS_NODE_NUMBERS ? t->near_node[k] : OS_NODE_UNKNOWN;
	}
	return t->bound;
}

void near__numa_forget(void)
{
	unsigned policy = near__topology.policy;

	near__topology = (struct topology){.nodes = 1, .policy = policy};
}

unsigned near__numa_node_of_cpu(unsigned cpu)
{
	unsigned node = load_relaxed(&near__topology.node_of_cpu[cpu]), here = 0, kernel_node = 0;

	if (likely(node != OS_NODE_UNKNOWN))
		return node;
	/* It was offline at the start. Only who runs on a CPU can ask for its node. */
	if (KERNEL(SYS_getcpu, &here, &kernel_node, 0))
		return 0;
	if (here != cpu)
		return OS_NODE_UNKNOWN;
	node = kernel_node < OS_NODE_NUMBERS ? near__topology.near_node[kernel_node] : 0;
	store_relaxed(&near__topology.node_of_cpu[cpu], (uint16_t)node);
	return node;
}

int near__numa_dense(int kernel_node)
{
	unsigned node;

	if (kernel_node < 0 || kernel_node >= OS_NODE_NUMBERS)
		return -1;
	node = near__topology.near_node[kernel_node];
	return near__topology.kernel_node[node] == kernel_node ? (int)node : -1;
}

unsigned near__numa_order(unsigned node, uint16_t *order)
{
	static int far[OS_MAX_NODES];
	unsigned n = 1;

	order[0] = (uint16_t)node;
	far[node] = -1;
	/* Insertion by distance; equal ones keep the order of their numbers, counted from `node` round. */
	for (unsigned i = 1; i < near__topology.nodes && !near__topology.strict; i++) {
		unsigned candidate = (node + i) % near__topology.nodes, at;

		if (near__topology.apart[candidate])
			continue;
		far[candidate] =
			distance_or_far(near__topology.kernel_node[node], near__topology.kernel_node[candidate]);
		for (at = n++; far[order[at - 1]] > far[candidate]; at--)
			order[at] = order[at - 1];
		order[at] = (uint16_t)candidate;
	}
	return n;
}

/* ---- what /sys says, without libnuma --------------------------------------------------------------- */

static uint64_t listed[OS_NODE_NUMBERS / 64]; /* nodes with memory, used or not */
static unsigned listed_count;		      /* 0: not read yet */

/* Sets the bits of the nodes in a file; the highest of them. Without /sys: the one node that everybody has. */
static unsigned read_nodes(const char *path, uint64_t *bits)
{
	char text[4096];
	const char *list = text;
	long length = near__os_read_file(path, text, sizeof(text));
	unsigned long first, last, highest = 0;

	while (length > 0 && near__range_next(&list, text + length, &first, &last) && last < OS_NODE_NUMBERS) {
		near__bits_set(bits, (unsigned)first, (unsigned)(last - first + 1));
		highest = last;
	}
	if (length <= 0)
		near__bits_set(bits, 0, 1);
	return (unsigned)highest;
}

unsigned near__numa_listed(void)
{
	unsigned count = load_acquire(&listed_count); /* N1 */
	uint64_t found[OS_NODE_NUMBERS / 64] = {0};

	if (count)
		return count;
	read_nodes("/sys/devices/system/node/has_memory", found);
	count = near__bits_count(found, 0, OS_NODE_NUMBERS);
	/* Whole words: whoever else is at it stores the same ones, and never a part of them. */
	for (unsigned w = 0; w < OS_NODE_NUMBERS / 64; w++)
		store_relaxed(&listed[w], found[w]);
	store_release(&listed_count, count); /* N0 */
	return count;
}

bool near__numa_has_memory(int kernel_node)
{
	near__numa_listed();
	return kernel_node >= 0 && kernel_node < OS_NODE_NUMBERS &&
	       load_relaxed(&listed[kernel_node / 64]) >> (kernel_node % 64) & 1;
}

unsigned near__numa_last(void)
{
	static unsigned known; /* one more; 0: not read yet */
	unsigned end = load_relaxed(&known);
	uint64_t online[OS_NODE_NUMBERS / 64] = {0};

	if (!end) {
		end = read_nodes("/sys/devices/system/node/online", online) + 1;
		store_relaxed(&known, end);
	}
	return end - 1;
}

int near__numa_where(void *const *pages, size_t n, int *node)
{
	return (int)-KERNEL(SYS_move_pages, 0, n, pages, 0, node, 0);
}
