/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* The figures of what nodes do for each other, and who serves for one that has nothing. */
#include <errno.h>
#include <sys/resource.h>

#include "heap/retain.h"
#include "traffic.h"

static void *held[1000];

/* ---- figures ---------------------------------------------------------------------------------------- */

Test(figures, are_what_was_noted)
{
	struct cpu_table *table;

	machine_around_us(3);
	table = unit_on_node(0);
	near__cache_note_freed(table, 1, 7, 700);
	near__cache_note_freed(table, 1, 3, 30);
	near__cache_note_freed(table, 2, 1, 5);
	near__cache_note_freed(unit_on_node(1), 1, 2, 2);
	expect_freed(0, 0, 0, 0);
	expect_freed(0, 1, 10, 730);
	expect_freed(0, 2, 1, 5);
	expect_freed(1, 0, 0, 0);
	expect_freed(1, 1, 2, 2);
	expect_freed(2, 0, 0, 0);
	cr_assert_eq(pair(0, 1).distance, 29);
	cr_assert_eq(pair(1, 2).distance, 28);
	cr_assert_eq(pair(1, 1).distance, 10);
	cr_assert_eq(pair(0, 1).fallbacks + pair(0, 1).fallback_bytes, 0);
}

TEST_IN_BOTH_MODES(figures, count_all_objects_that_went_home)
{
	struct cpu_table *table;
	unsigned left;
	size_t in_bins;

	machine_around_us(2);
	unit_on_node(0);
	for (unsigned i = 0; i < 1000; i++)
		held[i] = take(64);
	table = unit_on_node(1);
	for (unsigned i = 0; i < 1000; i++)
		give(held[i]);
	left = loaded(table, bin_of(0, class_of(64)));
	expect_freed(1, 0, 1000 - left, (1000 - left) * 64);
	near__depot_trim(0);
	cr_assert_eq(unit_look(), 0);
	in_bins = near__heap[0]->object_bytes;
	cr_assert_geq(in_bins, left * 64);
	cr_assert_eq(unit_look(), in_bins);
	expect_freed(1, 0, 1000, 64000);
	expect_freed(1, 1, 0, 0);
	expect_freed(0, 0, 0, 0);
	expect_freed(0, 1, 0, 0);
	expect_all_home();
}

TEST_IN_BOTH_MODES(figures, count_large_blocks_one_by_one)
{
	static const size_t sizes[] = {33000, 64 * KIB, 256 * KIB, 300 * KIB, 3 * MIB};
	uint64_t bytes = 0;

	machine_around_us(2);
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		void *block;

		unit_on_node(1);
		block = take(sizes[i]);
		bytes += near__lookup(block).bytes;
		unit_on_node(0);
		give(block);
		expect_freed(0, 1, i + 1, bytes);
	}
	expect_freed(0, 0, 0, 0);
	expect_freed(1, 1, 0, 0);
	give(take(3 * MIB));
	expect_freed(0, 0, 1, 3 * MIB);
	expect_all_home();
}

TEST_IN_BOTH_MODES(figures, of_a_node)
{
	struct near_node_stats stats;
	struct cpu_table *table;
	void *run, *mapping;

	near__heap_decays = true; /* extents may stay */
	machine_around_us(2);
	table = unit_on_node(0);
	near__node_stats(1, &stats);
	cr_assert(!stats.mapped && !stats.refills && !stats.refills_remote && !stats.allocated_large);
	run = take_on(300 * KIB, 1);
	mapping = take_on(3 * MIB, 1);
	held[0] = take_on(64, 1);
	near__node_stats(1, &stats);
	cr_assert_eq(stats.allocated_large, 300 * KIB + 3 * MIB);
	cr_assert_eq(stats.mapped, CHUNK_BYTES + 3 * MIB);
	cr_assert_eq(stats.refills, 0, "they belong to the node of the CPU");
	near__node_stats(0, &stats);
	cr_assert(stats.refills == 1 && stats.refills_remote == 1 && !stats.mapped && !stats.allocated_large);
	held[1] = take(64);
	near__node_stats(0, &stats);
	cr_assert(stats.refills == 2 && stats.refills_remote == 1);
	cr_assert_eq(stats.refills, table->counts.refills);
	give(mapping);
	give(run);
	near__node_stats(1, &stats);
	cr_assert_eq(stats.allocated_large, 0);
	cr_assert_eq(stats.mapped, CHUNK_BYTES + 3 * MIB, "an extent is mapped still");
	give(held[0]);
	give(held[1]);
	expect_all_home();
}

/* ---- neighbours ------------------------------------------------------------------------------------- */

static struct rlimit unlimited;

static void no_more_memory(void)
{
	struct rlimit none;

	cr_assert_eq(getrlimit(RLIMIT_AS, &unlimited), 0);
	none = (struct rlimit){.rlim_cur = 1, .rlim_max = unlimited.rlim_max};
	cr_assert_eq(setrlimit(RLIMIT_AS, &none), 0);
}

static void memory_again(void)
{
	setrlimit(RLIMIT_AS, &unlimited);
}

/* Free pages on a node, and records to name what is taken of them. */
static void stock(unsigned node)
{
	bool zeroed = false;

	for (unsigned i = 0; i < 4; i++)
		held[i] = near__large_alloc(900 * KIB, 16, node, &zeroed);
	for (unsigned i = 0; i < 4; i++)
		give(held[i]);
	cr_assert_eq(near__span_take(node, class_of(64), held, 1), 1);
	give(held[0]);
	near__drain_all();
}

static void expect_fallbacks(unsigned from, unsigned to, uint64_t blocks, uint64_t bytes)
{
	struct near_node_pair figures = pair(from, to);

	cr_assert_eq(figures.fallbacks, blocks, "%u for %u: %lu", to, from, (unsigned long)figures.fallbacks);
	cr_assert_eq(figures.fallback_bytes, bytes, "%u for %u: %lu", to, from, (unsigned long)figures.fallback_bytes);
}

TEST_IN_BOTH_MODES(neighbours, the_nearest_serves_a_node_that_has_nothing)
{
	unsigned n = 0;
	void *large;
	int home[32];

	machine_around_us(3);
	unit_on_node(0);
	stock(0);
	stock(2);
	unit_on_node(1);
	no_more_memory();
	for (; n < 20; n++)
		held[n] = near__malloc_slow(64);
	large = near__malloc_slow(500 * KIB);
	memory_again();
	for (unsigned i = 0; i < n; i++) {
		cr_assert_not_null(held[i]);
		home[i] = near__home_of(held[i]);
		cr_assert_eq(home[i], 2, "object %u came from %d", i, home[i]);
	}
	cr_assert_not_null(large);
	cr_assert_eq(near__home_of(large), 2);
	expect_fallbacks(1, 2, n + 1, n * 64 + 500 * KIB);
	expect_fallbacks(1, 0, 0, 0);
	expect_fallbacks(1, 1, 0, 0);
	expect_fallbacks(0, 2, 0, 0);
	expect_fallbacks(2, 1, 0, 0);
	for (unsigned i = 0; i < n; i++)
		give(held[i]);
	give(large);
	held[0] = take(64);
	cr_assert_eq(near__home_of(held[0]), 1, "as soon as there is memory again");
	give(held[0]);
	expect_all_home();
}

TEST_IN_BOTH_MODES(neighbours, then_the_next)
{
	void *objects[3], *large;
	bool zeroed = false;

	machine_around_us(3);
	unit_on_node(0);
	stock(0);
	unit_on_node(1);
	no_more_memory();
	objects[0] = near__malloc_slow(64);
	objects[1] = near__alloc((struct request){.size = 64, .node = 2}, &zeroed);
	objects[2] = near__malloc_slow(40000);
	large = near__alloc((struct request){.size = 500 * KIB, .node = 2}, &zeroed);
	memory_again();
	for (unsigned i = 0; i < 3; i++) {
		cr_assert_not_null(objects[i]);
		cr_assert_eq(near__home_of(objects[i]), 0);
	}
	cr_assert_not_null(large);
	cr_assert_eq(near__home_of(large), 0);
	expect_fallbacks(1, 0, 2, 64 + 40960);
	expect_fallbacks(2, 0, 2, 64 + 500 * KIB);
	expect_fallbacks(1, 2, 0, 0);
	expect_fallbacks(2, 1, 0, 0);
	for (unsigned i = 0; i < 3; i++)
		give(objects[i]);
	give(large);
	expect_all_home();
}

#if NEAR_WITH_NUMA
static int second_is_full(void *start_of, size_t bytes, int policy, unsigned node, unsigned flags)
{
	(void)start_of, (void)bytes, (void)flags;
	return node == 1 && policy == MPOL_BIND ? EIO : 0;
}

/* The node itself is asked, and its answer stands; or it is not asked at all. */
TEST_IN_BOTH_MODES(neighbours, nobody_serves_where_it_is_strict)
{
	void *object;
	bool zeroed = false;

	near__topology.strict = true;
	near__numa_mbind = second_is_full;
	machine_around_us(3);
	near__topology.bound = true;
	unit_on_node(0);
	stock(0);
	stock(2);
	for (size_t size = 64; size < 4 * MIB; size *= 4) {
		errno = 0;
		cr_assert_null(near__alloc((struct request){.size = size, .node = 1}, &zeroed), "size %zu", size);
		cr_assert_eq(errno, ENOMEM);
		object = take_on(size, 2);
		cr_assert_eq(near__home_of(object), 2);
		give(object);
	}
	unit_on_node(1);
	cr_assert_null(near__malloc_slow(64));
	cr_assert_null(near__malloc_slow(MIB));
	near__topology.strict = false;
	for (size_t size = 64; size < 4 * MIB; size *= 4) {
		object = take(size);
		cr_assert_eq(near__home_of(object), 1, "otherwise nothing is claimed");
		give(object);
	}
	expect_fallbacks(1, 0, 0, 0);
	expect_fallbacks(1, 2, 0, 0);
	expect_all_home();
}
#endif
