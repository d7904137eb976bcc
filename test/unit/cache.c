/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* cache/refill: what malloc and free do when a bin is empty or full, on one CPU, in either mode. */
#include <stdlib.h>

#include "base/conf.h"
#include "heap_check.h"
#include "malloc/fast.h"
#include "unit.h"

enum { MANY = 5000 };

static void *held[MANY];

static void *take(size_t size)
{
	void *object = near__malloc_slow(size);

	cr_assert_not_null(object);
	return object;
}

static void give(void *object)
{
	near__free_slow(object, "free");
}

static unsigned magazines_made(void)
{
	unsigned n = 0;

	for (uint32_t i = 1; i < near__pool_end(&near__magazines); i++)
		n += near__pool_peek(&near__magazines, i) != NULL;
	return n;
}

static unsigned magazines_idle(void)
{
	unsigned n = 0;

	for (unsigned node = 0; node < near__nodes; node++)
		n += stack_length(&near__depot[node]->empty.stack) + stack_length(&near__depot[node]->cold);
	return n;
}

/* Everything that the program gave back went all the way home. */
static void expect_all_home(void)
{
	near__drain_all();
	for (unsigned node = 0; node < near__nodes; node++) {
		const char *wrong;

		near__depot_trim(node);
		unit_span_trim(node);
		wrong = heap_wrong(node, true);
		cr_assert_null(wrong, "%s", wrong);
		cr_assert_eq(near__depot[node]->bytes, 0);
	}
	unit_expect_sound();
	for (uint32_t i = 1; i < near__pool_end(&near__spans); i++)
		cr_assert(!span_or_null(i) || span_or_null(i)->state == SPAN_UNUSED, "span %u is in use", i);
	for (unsigned cpu = 0; cpu < near__cpus; cpu++)
		cr_assert(!near__table[cpu] || near__table[cpu]->charged == 0, "charged %ld",
			  (long)near__table[cpu]->charged);
	cr_assert_eq(magazines_idle(), magazines_made());
	cr_assert_eq(near__heap_lost, 0);
}

static unsigned lines_shared(unsigned count, size_t bytes)
{
	unsigned shared = 0;

	for (unsigned i = 0; i < count; i++) {
		for (unsigned other = 0; other < i; other++) {
			uintptr_t low = size_min((uintptr_t)held[i], (uintptr_t)held[other]);
			uintptr_t high = size_max((uintptr_t)held[i], (uintptr_t)held[other]);

			shared += high / CACHE_LINE == (low + bytes - 1) / CACHE_LINE;
		}
	}
	return shared;
}

/* Eight threads that each get one must not write to one line. */
TEST_IN_BOTH_MODES(cache, objects_taken_together_share_no_line)
{
	static const size_t sizes[] = {16, 32, 48, 80, 96, 112, 144};

	unit_pinned_table();
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		unsigned count = sizes[i] < CACHE_LINE / 2 ? 8 : 4;

		for (unsigned n = 0; n < count; n++)
			held[n] = take(sizes[i]);
		cr_assert_eq(lines_shared(count, sizes[i]), 0, "size %zu", sizes[i]);
		for (unsigned n = 0; n < count; n++)
			give(held[n]);
	}
	expect_all_home();
}

static void give_all(unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		give(held[i]);
	near__drain_all();
	near__depot_trim(0);
}

static unsigned lines_shared_in_a_row(unsigned count)
{
	unsigned shared = 0;

	for (unsigned i = 0; i + 1 < count; i++)
		shared += (uintptr_t)held[i] / CACHE_LINE == (uintptr_t)held[i + 1] / CACHE_LINE;
	return shared;
}

/* Before each magazine that is filled from the spans another thread may have filled one of the class. */
static void take_from_spans(unsigned count, size_t bytes, bool others)
{
	struct shelf *shelf = &near__depot[0]->full[class_of(bytes)];

	for (unsigned i = 0; i < count; i++) {
		if (others)
			shelf->filler = ~lock_self();
		held[i] = take(bytes);
	}
}

TEST_IN_BOTH_MODES(cache, neighbours_are_parted_where_several_threads_take_them)
{
	enum { COUNT = 2000, BYTES = 16 };

	unit_pinned_table();
	take_from_spans(COUNT, BYTES, false);
	give_all(COUNT);
	take_from_spans(COUNT, BYTES, false);
	cr_expect_gt(lines_shared_in_a_row(COUNT), COUNT * 3 / 5);
	give_all(COUNT);
	take_from_spans(COUNT, BYTES, true);
	cr_expect_lt(lines_shared_in_a_row(COUNT), COUNT / 8);
	give_all(COUNT);
	expect_all_home();
}

/* Objects of 256 bytes, of which the bin keeps some and the depot the others. */
static void take_and_give(unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		held[i] = take(256);
	for (unsigned i = 0; i < count; i++)
		give(held[i]);
}

TEST_IN_BOTH_MODES(cache, a_depot_sheds_what_was_not_needed_since_the_last_time)
{
	struct shelf *shelf;
	uint32_t full;

	unit_pinned_table();
	shelf = &near__depot[0]->full[class_of(256)];
	take_and_give(MANY);
	near__depot_shed(0);
	full = shelf->held;
	cr_assert_gt(full, 3, "the first time nothing is known");
	take_and_give(MANY);
	near__depot_shed(0);
	cr_assert_geq(shelf->held, full, "all of it was needed");
	near__depot_shed(0);
	cr_assert_eq(shelf->held, 0, "none of it was");
	expect_all_home();
}

TEST_IN_BOTH_MODES(cache, a_small_depot_sheds_nothing)
{
	struct shelf *shelf;
	uint32_t full;

	unit_pinned_table();
	shelf = &near__depot[0]->full[class_of(256)];
	take_and_give(1000);
	full = shelf->held;
	cr_assert(full && near__depot[0]->bytes < 256 * KIB);
	near__depot_shed(0);
	near__depot_shed(0);
	cr_assert_eq(shelf->held, full);
	expect_all_home();
}

TEST_IN_BOTH_MODES(cache, objects_of_every_class_are_distinct_and_come_home)
{
	unit_pinned_table();
	for (unsigned class = 1; class <= CLASSES; class ++) {
		unsigned n = (unsigned)size_min(300, 4 * MIB / near__class[class].bytes);

		for (unsigned i = 0; i < n; i++) {
			held[i] = take(near__class[class].bytes);
			cr_assert_eq(pagemap_slot((uintptr_t)held[i]), bin_of(0, class) * BIN_WORDS);
			memset(held[i], (int)i, near__class[class].bytes);
		}
		for (unsigned i = 0; i < n; i++) {
			cr_assert_eq(((unsigned char *)held[i])[near__class[class].bytes - 1], (unsigned char)i);
			give(held[i]);
		}
	}
	expect_all_home();
}

static int by_address(const void *a, const void *b)
{
	const char *const *x = a, *const *y = b;

	return *x < *y ? -1 : *x > *y;
}

TEST_IN_BOTH_MODES(cache, random_traffic_doubles_and_loses_nothing)
{
	uint64_t random = 17;
	unsigned n = 0;

	unit_pinned_table();
	for (unsigned round = 0; round < 200000; round++) {
		if (n < MANY && unit_random(&random) % 100 < (round / 5000 % 2 ? 40 : 60)) {
			held[n++] = take(1 + unit_random(&random) % (unit_random(&random) % 8 ? 512 : 40000));
		} else if (n) {
			unsigned victim = (unsigned)(unit_random(&random) % n);

			give(held[victim]);
			held[victim] = held[--n];
		}
	}
	qsort(held, n, sizeof(*held), by_address);
	for (unsigned i = 1; i < n; i++)
		cr_assert_neq(held[i - 1], held[i]);
	while (n)
		give(held[--n]);
	expect_all_home();
}

TEST_IN_BOTH_MODES(cache, capacity_grows_with_misses)
{
	struct cpu_table *table = unit_pinned_table();
	unsigned class = class_of(64), before = table->want[class], loaded;

	for (unsigned i = 0; i < 1000; i++)
		held[i] = take(64);
	cr_assert_lt(before, near__class[class].capacity);
	cr_assert_eq(table->want[class], near__class[class].capacity);
	loaded = magazine_capacity(table->bins[class].cursor);
	cr_assert_gt(loaded, before);
	for (unsigned i = 0; i < 1000; i++)
		give(held[i]);
	cr_assert_eq(magazine_capacity(table->bins[class].cursor), near__class[class].capacity);
	cr_assert_gt(table->counts.refills, 0);
	cr_assert_gt(table->counts.flushes, 0);
	cr_assert_leq(table->counts.slow_malloc, 40, "a miss brings many objects");
	expect_all_home();
}

TEST_IN_BOTH_MODES(cache, swapping_between_two_magazines_needs_no_depot)
{
	struct cpu_table *table = unit_pinned_table();
	uint64_t flushes;

	for (unsigned i = 0; i < 400; i++)
		held[i] = take(64);
	for (unsigned i = 0; i < 400; i++)
		give(held[i]);
	flushes = table->counts.flushes + table->counts.refills_depot;
	for (unsigned round = 0; round < 200; round++) { /* around the border of a magazine */
		for (unsigned i = 0; i < 30; i++)
			held[i] = take(64);
		for (unsigned i = 0; i < 30; i++)
			give(held[i]);
	}
	cr_assert_leq(table->counts.flushes + table->counts.refills_depot - flushes, 2);
	expect_all_home();
}

TEST_IN_BOTH_MODES(cache, refilling_from_spans_needs_no_empty_magazine_of_the_depot)
{
	struct cpu_table *table = unit_pinned_table();
	uint64_t head, refills;

	for (unsigned i = 0; i < 1000; i++)
		held[i] = take(64);
	head = near__depot[table->node]->empty.stack.head; /* its tag counts what was pushed and popped */
	refills = table->counts.refills;
	for (unsigned i = 1000; i < 3000; i++)
		held[i] = take(64);
	cr_assert_gt(table->counts.refills, refills);
	cr_assert_eq(near__depot[table->node]->empty.stack.head, head);
	for (unsigned i = 0; i < 3000; i++)
		give(held[i]);
	expect_all_home();
}

/* Beyond the budget a magazine of each class is cut to a floor, or to one object. */
TEST_IN_BOTH_MODES(cache, the_budget_is_kept)
{
	struct cpu_table *table = unit_pinned_table();
	int64_t most = near__percpu_budget = 256 * KIB;

	for (unsigned class = 1; class <= CLASSES; class ++) {
		most += 2 * (int64_t)size_max(16 * KIB, near__class[class].bytes);
		for (unsigned i = 0; i < 40; i++)
			held[i] = take(near__class[class].bytes);
		for (unsigned i = 0; i < 40; i++)
			give(held[i]);
	}
	cr_assert_leq(table->charged, most, "charged %ld", (long)table->charged);
	expect_all_home();
}

/* A magazine with as many objects as it can have. */
static void fill_depot(unsigned class)
{
	uintptr_t cursor = round_down(near__magazine_take(0, 0), MAGAZINE_BYTES) + MAGAZINE_TOP;
	unsigned got = near__span_take(0, class, (void **)cursor, near__class[class].capacity);

	near__magazine_prepare(cursor, got);
	near__depot_push(bin_of(0, class), cursor);
}

/* Those from a depot are not cut. */
TEST_IN_BOTH_MODES(cache, beyond_the_budget_two_magazines_of_each_class)
{
	struct cpu_table *table = unit_pinned_table();
	int64_t most = near__percpu_budget = 256 * KIB;

	for (unsigned class = 1; class <= CLASSES; class ++) {
		most += 2 * (int64_t)near__class[class].capacity * near__class[class].bytes;
		for (unsigned i = 0; i < 4; i++)
			fill_depot(class);
		for (unsigned i = 0; i < 40; i++)
			held[i] = take(near__class[class].bytes);
		for (unsigned i = 0; i < 40; i++)
			give(held[i]);
	}
	cr_assert_leq(table->charged, most, "charged %ld", (long)table->charged);
	expect_all_home();
}

/* ---- without a table ------------------------------------------------------------------------------ */

/* A thread that is not registered, or a CPU whose table cannot be had. */
TEST_IN_BOTH_MODES(cache, without_a_table_depot_and_spans_serve)
{
	unsigned bin = bin_of(0, class_of(64));

	for (unsigned i = 0; i < 200; i++)
		held[i] = near__cache_alloc(NULL, 0, class_of(64));
	for (unsigned i = 0; i < 200; i++)
		near__cache_free(NULL, bin, held[i], "free");
	cr_assert_eq(magazines_made(), 0);
	expect_all_home();
}

/* While the CPU is being drained: the table is known, the sections refuse. */
Test(cache, a_stubbed_cpu_is_served_without_its_table, .timeout = 30)
{
	struct cpu_table *table;

	unit_mode(NEAR_MODE_RSEQ);
	table = unit_pinned_table();
	near__drain_lock.word = STRANGER;
	CPU_BASE[table->cpu] = LOCAL_BASE[table->cpu] = near__stub->bins;
	for (unsigned i = 0; i < 1000; i++)
		held[i] = take(64);
	for (unsigned i = 0; i < 1000; i++)
		give(held[i]);
	for (unsigned bin = 1; bin < near__table_bins(); bin++)
		cr_assert(table->bins[bin].cursor == NIL_CURSOR && table->bins[bin].spare == SPARE_NONE);
	cr_assert_eq(table->charged, 0);
	near__table_publish(table);
	near__drain_lock.word = 0;
	expect_all_home();
}

/* A signal handler may come at any lock; each refuses it, and it is served all the same. */
TEST_IN_BOTH_MODES(cache, every_lock_of_the_heap_held_by_the_interrupted)
{
	struct cpu_table *table = unit_pinned_table();
	struct lock *locks[] = {&table->lock, &near__heap[0]->spans[4].lock, &near__heap[0]->chunks.lock,
				&near__drain_lock};

	for (unsigned i = 0; i < 100; i++)
		held[i] = take(64);
	for (size_t l = 0; l < ARRAY_LEN(locks); l++) {
		cr_assert(lock_acquire(locks[l]));
		for (unsigned i = 100; i < 300; i++)
			held[i] = take(64);
		for (unsigned i = 100; i < 300; i++)
			give(held[i]);
		lock_release(locks[l]);
	}
	for (unsigned i = 0; i < 100; i++)
		give(held[i]);
	near__drain_all();
	near__depot_trim(0);
	cr_assert_eq(magazines_idle(), magazines_made());
}

/* ---- two nodes ------------------------------------------------------------------------------------ */

TEST_IN_BOTH_MODES(nodes, objects_of_another_node_go_to_its_outgoing_bin)
{
	struct cpu_table *table;
	unsigned class = class_of(64), bin;
	uint64_t remote;

	unit_two_nodes();
	table = unit_pinned_table();
	bin = bin_of(1, class);
	for (unsigned i = 0; i < 300; i++) {
		cr_assert_eq(near__span_take(1, class, &held[i], 1), 1);
		cr_assert_eq(pagemap_slot((uintptr_t)held[i]), bin * BIN_WORDS);
	}
	for (unsigned i = 0; i < 300; i++) {
		give(held[i]);
		cr_assert_eq(table->bins[bin].spare, SPARE_NONE, "outgoing bins have none");
	}
	cr_assert_eq(table->bins[bin_of(0, class)].cursor, NIL_CURSOR);
	remote = table->counts.flushes_remote;
	cr_assert_gt(remote, 0);
	cr_assert_gt(near__depot[1]->bytes, 0);
	cr_assert_eq(near__depot[0]->bytes, 0);
	expect_all_home();
}

TEST_IN_BOTH_MODES(nodes, large_objects_of_another_node_go_straight_home)
{
	struct cpu_table *table;
	unsigned class = class_of(64 * KIB);

	unit_two_nodes();
	table = unit_pinned_table();
	cr_assert_eq(near__span_take(1, class, held, 1), 1);
	near__cache_free(table, bin_of(1, class), held[0], "free");
	cr_assert_eq(table->bins[bin_of(1, class)].cursor, NIL_CURSOR);
	expect_all_home();
}

/* A producer's node must not be left without magazines by a consumer on another: the empties flow back. */
TEST_IN_BOTH_MODES(nodes, producer_and_consumer_do_not_grow_for_ever)
{
	struct cpu_table *table;
	unsigned class = class_of(64), bin, made = 0;

	unit_two_nodes();
	table = unit_pinned_table();
	bin = bin_of(1, class);
	for (unsigned round = 0; round < 300; round++) {
		for (unsigned i = 0; i < 500; i++)
			held[i] = near__cache_alloc(NULL, 1, class); /* node 1 works from its depot */
		for (unsigned i = 0; i < 500; i++)
			give(held[i]);
		if (round == 250)
			made = magazines_made();
	}
	cr_assert_leq(magazines_made(), made + 4, "%u, then %u", made, magazines_made());
	cr_assert_neq(table->bins[bin].cursor, NIL_CURSOR);
	expect_all_home();
}
