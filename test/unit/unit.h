/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * What the unit tests share. Criterion gives each test a process of its own, in which start-up has just ended and
 * nothing was allocated yet: the C library's malloc serves Criterion, ours serves the test alone.
 */
#ifndef NEAR_TEST_UNIT_H
#define NEAR_TEST_UNIT_H

#include <criterion/criterion.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cache/cache.h"
#include "heap/extent.h"
#include "heap/purge.h"
#include "watch/check.h"

/* Repeatable: xorshift64*. */
static inline uint64_t unit_random(uint64_t *state)
{
	uint64_t x = *state ? *state : 88172645463325252ull;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*state = x;
	return x * 0x2545f4914f6cdd1dull >> 16;
}

/* Whether nothing is mapped in the range, at this moment. */
static inline bool unit_is_unmapped(void *start, size_t bytes)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;
	void *probe = mmap(start, bytes, PROT_NONE, flags, -1, 0);

	if (probe != MAP_FAILED)
		munmap(probe, bytes);
	return probe == start;
}

struct ending {
	int status;
	char text[1024];
};

/* Runs a function in a child and collects its end and what it wrote to stderr. */
static inline struct ending unit_child(pid_t (*start)(void), void (*run)(void))
{
	struct ending end = {0};
	size_t length = 0;
	ssize_t n;
	pid_t child;
	int out[2];

	cr_assert_eq(pipe(out), 0);
	child = start();
	if (!child) {
		alarm(20);
		dup2(out[1], 2);
		run();
		_exit(0);
	}
	cr_assert_gt(child, 0);
	close(out[1]);
	while ((n = read(out[0], end.text + length, sizeof(end.text) - 1 - length)) > 0)
		length += (size_t)n;
	close(out[0]);
	cr_assert_eq(waitpid(child, &end.status, 0), child);
	return end;
}

static inline void unit_expect_death(void (*run)(void), const char *finding)
{
	struct ending end = unit_child(fork, run);

	cr_assert(WIFSIGNALED(end.status) && WTERMSIG(end.status) == SIGABRT, "status %x, said: %s", end.status,
		  end.text);
	cr_assert(!strncmp(end.text, "nearmalloc: ", 12), "%s", end.text);
	cr_assert(strstr(end.text, finding), "no \"%s\" in: %s", finding, end.text);
	cr_assert_eq(strchr(end.text, '\n'), end.text + strlen(end.text) - 1, "one line: %s", end.text);
}

static inline bool unit_has_memory(int node)
{
	return node >= 0;
}

static inline int unit_last_cpu_on_one(int cpu)
{
	return cpu == OS_MAX_CPUS - 1;
}

static inline int unit_near_or_far(int from, int to)
{
	return from == to ? 10 : 20;
}

/* Before anything is allocated: a second node, which no real CPU belongs to. Nothing is bound. */
static inline void unit_two_nodes(void)
{
	static const struct os_machine machine = {.nodes = 2,
						  .cpus = OS_MAX_CPUS,
						  .has_memory = unit_has_memory,
						  .node_of_cpu = unit_last_cpu_on_one,
						  .distance = unit_near_or_far};

	cr_assert(near__numa_arrange(&machine, NULL));
	near__topology.bound = false;
	cr_assert(near__heap_start(0) && near__heap_start(1));
	near__nodes = 2;
	cr_assert(near__cache_start());
}

/* The library's own check finds nothing. */
static inline void unit_expect_sound(void)
{
	int error;

	cr_assert_eq(near__check(&error), 0, "near_check says why");
}

/* Leaves the test as skipped where this build or machine lacks the mode. */
static inline void unit_mode(enum near_mode mode)
{
	if (mode == NEAR_MODE_RSEQ && near__mode != NEAR_MODE_RSEQ)
		cr_skip_test("no restartable sequences here");
	near__mode = mode;
}

/* One test of a function in each mode. */
#define TEST_IN_BOTH_MODES(suite, name)           \
	static void suite##_##name(void);         \
	Test(suite, name##_rseq, .timeout = 60)   \
	{                                         \
		unit_mode(NEAR_MODE_RSEQ);        \
		suite##_##name();                 \
	}                                         \
	Test(suite, name##_locked, .timeout = 60) \
	{                                         \
		unit_mode(NEAR_MODE_LOCKED);      \
		suite##_##name();                 \
	}                                         \
	static void suite##_##name(void)

/* Stays on one CPU and returns its table. */
static inline struct cpu_table *unit_pinned_table(void)
{
	cpu_set_t one;
	struct cpu_table *table;

	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	cr_assert_eq(sched_setaffinity(0, sizeof(one), &one), 0);
	table = near__cache_table();
	cr_assert_not_null(table);
	return table;
}

/* Empty spans to the chunks, and whole free pages of the others to the kernel. Returns the latter's bytes. */
static inline size_t unit_span_trim(unsigned node)
{
	near__span_release_empty(node, 0);
	return near__span_purge(node, 0);
}

/* A look at idle bins: what nobody used since the last one goes. */
static inline size_t unit_look(void)
{
	return near__drain_idle(1, &(bool){false});
}

/* A chunk of a node's regions, whose record stands alone; NULL: none can be had. */
static inline struct chunk *unit_carve(unsigned node)
{
	uint32_t index = near__pool_take(&near__chunks, node);

	if (!index || !near__region_carve(&near__heap[node]->chunks, node, index))
		return NULL;
	return pool_record(&near__chunks, index);
}

/* A lock word that names a thread which does not exist. */
#define STRANGER 0x00dead02u

#endif
