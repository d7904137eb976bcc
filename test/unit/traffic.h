/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* What the tests of nodes do with memory: take, give, look where it is, and see that nothing was lost. */
#ifndef NEAR_TEST_TRAFFIC_H
#define NEAR_TEST_TRAFFIC_H

#include "heap_check.h"
#include "machine.h"
#include "malloc/malloc.h"
#include "watch/nodes.h"

static inline void *take(size_t size)
{
	void *object = near__malloc_slow(size);

	cr_assert_not_null(object);
	return object;
}

static inline void give(void *object)
{
	near__free_slow(object, "free");
}

static inline void *take_on(size_t size, unsigned node)
{
	bool zeroed;
	void *object = near__alloc((struct request){.size = size, .node = (int)node}, &zeroed);

	cr_assert_not_null(object);
	return object;
}

static inline void expect_sound(void)
{
	for (unsigned node = 0; node < near__nodes; node++) {
		const char *wrong = heap_wrong(node, true);

		cr_assert_null(wrong, "node %u: %s", node, wrong);
	}
	unit_expect_sound();
}

static inline void expect_all_home(void)
{
	near__drain_all();
	for (unsigned node = 0; node < near__nodes; node++) {
		near__depot_trim(node);
		cr_assert_eq(near__depot[node]->bytes, 0);
	}
	for (unsigned node = 0; node < near__nodes; node++)
		unit_span_trim(node);
	expect_sound();
	for (uint32_t i = 1; i < near__pool_end(&near__spans); i++)
		cr_assert(!span_or_null(i) || span_or_null(i)->state == SPAN_UNUSED ||
				  span_or_null(i)->state == SPAN_EXTENT,
			  "span %u is in use", i);
	cr_assert_eq(near__heap_lost, 0);
}

static inline unsigned loaded(const struct cpu_table *table, unsigned bin)
{
	return table->bins[bin].cursor == NIL_CURSOR ? 0 : near__magazine_count(table->bins[bin].cursor);
}

static inline struct near_node_pair pair(unsigned from, unsigned home)
{
	struct near_node_pair figures;

	memset(&figures, 0xee, sizeof(figures));
	near__node_pair(from, home, &figures);
	return figures;
}

static inline void expect_freed(unsigned from, unsigned home, uint64_t objects, uint64_t bytes)
{
	struct near_node_pair figures = pair(from, home);

	cr_assert_eq(figures.freed, objects, "%u on %u: %lu", home, from, (unsigned long)figures.freed);
	cr_assert_eq(figures.freed_bytes, bytes, "%u on %u: %lu", home, from, (unsigned long)figures.freed_bytes);
}

#endif
