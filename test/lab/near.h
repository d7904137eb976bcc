/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* The calls of near/malloc.h, there only under the library: weak, as the programs are linked with nothing. */
#ifndef NEAR_TEST_LAB_NEAR_H
#define NEAR_TEST_LAB_NEAR_H

#include <near/malloc.h>
#include <malloc.h>

#include "objects.h"

#pragma weak near_aligned_alloc_on_node
#pragma weak near_calloc_on_node
#pragma weak near_malloc_on_node
#pragma weak near_max_node
#pragma weak near_node_of
#pragma weak near_node_pair
#pragma weak near_node_resident
#pragma weak near_node_sample
#pragma weak near_node_stats
#pragma weak near_realloc_on_node
#pragma weak near_report
#pragma weak near_stats
#pragma weak near_trim

static inline void need_near(void)
{
	if (!near_malloc_on_node || !near_node_of || !near_node_pair || !near_node_sample || !near_stats) {
		say(2, "not run under the library\n");
		exit(1);
	}
}

static inline uint64_t pair_freed(int on, int home)
{
	struct near_node_pair pair = {.freed = 0};

	CHECK(near_node_pair(on, home, &pair, sizeof(pair)) == 0);
	return pair.freed;
}

static inline struct near_stats stats_now(void)
{
	struct near_stats stats = {.version = 0};

	CHECK(near_stats(&stats, sizeof(stats)) == 0);
	return stats;
}

/* Nodes that memory may be asked for on, in order. */
static int homes[LAB_NODES], home_count;

static inline bool is_home(int node)
{
	return node >= 0 && node < machine.nodes && machine.memory[node];
}

static inline int other_home(int home)
{
	for (int i = 0; i < home_count; i++) {
		if (homes[i] == home)
			return homes[(i + 1) % home_count];
	}
	return home;
}

static inline void find_homes(void)
{
	for (int node = 0; node < machine.nodes; node++) {
		if (machine.memory[node])
			homes[home_count++] = node;
	}
}

#endif
