/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* keep/decay by a clock that the test makes up: what goes when, how smoothly, and when there is nothing left to do. */
#include <time.h>

#include "base/conf.h"
#include "heap_check.h"
#include "keep/keep.h"
#include "malloc/malloc.h"

#include "unit.h"

static struct cpu_table *table;
static uint64_t now = 1000;

enum { SIZE = 64, PERIOD = 1600, STEPS = 16, STEP = PERIOD / STEPS, LOOK = PERIOD / LOOKS };

static void give(void *object)
{
	near__free_slow(object, "free");
}

/* Slow paths do nothing by the real clock; nor do frees on their own. */
static void only_we_keep(bool only)
{
	near__purge_lock.word = only ? STRANGER : 0;
}

static uint64_t slice(size_t most)
{
	uint64_t next;

	only_we_keep(false);
	cr_assert(lock_acquire(&near__purge_lock));
	next = near__keep_step(now, most);
	lock_release(&near__purge_lock);
	only_we_keep(true);
	return next;
}

/* What is due after some milliseconds; returns how long nothing is. */
static uint64_t after(uint64_t ms)
{
	now += ms;
	return slice(KEEP_ALL);
}

static bool looked(void)
{
	return table->seen[bin_of(0, class_of(SIZE))] != 0;
}

static bool gone(void)
{
	return table->bins[bin_of(0, class_of(SIZE))].cursor == NIL_CURSOR;
}

/* Something lies in a bin. */
static void start(uint64_t decay_ms)
{
	near__conf.decay_ms = decay_ms;
	only_we_keep(true);
	table = unit_pinned_table();
	give(near__malloc_slow(SIZE));
	cr_assert_not(gone());
}

static void expect_sound(void)
{
	cr_assert_null(heap_wrong(0, true), "%s", heap_wrong(0, true));
}

/* ---- looks ------------------------------------------------------------------------------------------ */

TEST_IN_BOTH_MODES(decay, the_first_call_sets_the_clock)
{
	start(PERIOD);
	cr_assert_eq(after(0), STEP);
	cr_assert_not(looked());
	after(LOOK - 1);
	cr_assert_not(looked(), "it is not due yet");
	after(1);
	cr_assert(looked());
	after(0);
	for (unsigned look = 1; look < LOOKS; look++) {
		after(LOOK - 1);
		after(1);
		cr_assert_not(gone(), "after %u looks", look);
	}
	after(LOOK - 1);
	cr_assert_not(gone());
	after(1);
	cr_assert(gone());
	expect_sound();
}

/* Who sleeps longer than a look takes nothing for older than it was seen to be. */
TEST_IN_BOTH_MODES(decay, a_long_sleep_is_one_look)
{
	start(PERIOD);
	after(0);
	after(LOOK);
	after(100 * LOOK);
	cr_assert_not(gone());
}

TEST_IN_BOTH_MODES(decay, caches_may_have_a_time_of_their_own)
{
	start(PERIOD);
	near__conf.cache_ttl = 10 * PERIOD;
	after(0);
	for (unsigned step = 0; step < 2 * STEPS; step++)
		after(STEP);
	cr_assert(!gone());
	while (now < 1000 + 12 * PERIOD)
		after(STEP);
	cr_assert(gone());
}

TEST_IN_BOTH_MODES(decay, of_all_time_never_happens)
{
	void *large;

	start(UINT64_MAX);
	large = near__malloc_slow(MIB);
	give(large);
	cr_assert_eq(after(0), KEEP_NOTHING);
	for (unsigned call = 0; call < 40; call++)
		cr_assert_eq(after(1ull << call), KEEP_NOTHING);
	cr_assert_not(looked());
	cr_assert_not(gone());
	cr_assert_eq(near__heap_retained(0), MIB);
	near__conf.cache_ttl = 80;
	for (unsigned look = 0; look < LOOKS + 2; look++)
		after(10);
	cr_assert(gone(), "its own time has come");
	cr_assert_gt(near__heap_retained(0), 0);
}

/* ---- smoothly --------------------------------------------------------------------------------------- */

enum { RUNS = 64, RUN = 512 << 10 };

static void *runs[2 * RUNS];

/* Every other run becomes free, so that what goes at once is one at most. */
static void free_every_other_run(void)
{
	for (unsigned i = 0; i < 2 * RUNS; i++) {
		bool zeroed = false;

		runs[i] = near__large_alloc(RUN, 16, 0, &zeroed);
		cr_assert_not_null(runs[i]);
		memset(runs[i], 1, RUN);
	}
	for (unsigned i = 0; i < 2 * RUNS; i += 2) {
		uint32_t index = near__pagemap_span((uintptr_t)runs[i]);

		cr_assert(near__large_free(pool_record(&near__spans, index), index));
	}
	cr_assert_eq(near__heap_retained(0), (size_t)RUNS * RUN);
}

Test(decay, what_became_free_in_a_step_goes_in_sixteen)
{
	size_t all = (size_t)RUNS * RUN;

	near__conf.decay_ms = PERIOD;
	after(0);
	after(STEP);
	free_every_other_run();
	after(STEP - 1);
	cr_assert_eq(near__heap_retained(0), all);
	after(1);
	cr_assert_eq(near__heap_retained(0), all, "the step that sees it takes nothing");
	for (unsigned step = 1; step <= STEPS; step++) {
		size_t limit = all / STEPS * (STEPS - step), retained;

		after(STEP / 2);
		cr_assert_gt(near__heap_retained(0), limit, "not before its time");
		after(STEP - STEP / 2);
		retained = near__heap_retained(0);
		cr_assert(retained <= limit && retained + RUN > limit, "step %u: %zu of %zu", step, retained, limit);
		expect_sound();
	}
	cr_assert_eq(near__heap_retained(0), 0);
}

/* Two bursts are two slopes. */
Test(decay, each_step_decays_for_itself)
{
	enum { EACH = 4 };
	size_t all = 0;

	near__conf.decay_ms = PERIOD;
	for (unsigned i = 0; i < 2 * RUNS; i++) {
		runs[i] = near__large_alloc(RUN, 16, 0, &(bool){false});
		memset(runs[i], 1, RUN);
	}
	after(0);
	for (unsigned step = 0; step < RUNS / EACH; step++) {
		size_t limit = 0;

		for (unsigned i = 0; i < EACH; i++) {
			uint32_t index = near__pagemap_span((uintptr_t)runs[2 * (step * EACH + i)]);

			cr_assert(near__large_free(pool_record(&near__spans, index), index));
		}
		all += EACH * (size_t)RUN;
		after(STEP);
		for (unsigned age = 0; age <= step; age++)
			limit += EACH * (size_t)RUN / STEPS * (STEPS - size_min(age, STEPS));
		cr_assert_leq(near__heap_retained(0), limit);
		cr_assert_gt(near__heap_retained(0) + RUN, limit, "step %u: %zu of %zu, all %zu", step,
			     near__heap_retained(0), limit, all);
	}
}

/* A step that comes late does what those before it left undone. */
Test(decay, late_steps_catch_up)
{
	size_t all = (size_t)RUNS * RUN;

	near__conf.decay_ms = PERIOD;
	after(0);
	free_every_other_run();
	after(STEP);
	after(8 * STEP);
	cr_assert_leq(near__heap_retained(0), all / 2);
	cr_assert_gt(near__heap_retained(0) + RUN, all / 2);
	after(100 * STEP);
	cr_assert_eq(near__heap_retained(0), 0);
}

Test(decay, extents_go_piece_by_piece)
{
	void *block = near__large_alloc(32 * MIB, 16, 0, &(bool){false});
	uint32_t index = near__pagemap_span((uintptr_t)block);

	near__conf.decay_ms = PERIOD;
	after(0);
	cr_assert(near__large_free(pool_record(&near__spans, index), index));
	after(STEP);
	for (unsigned step = 1; step <= STEPS; step++) {
		cr_assert_eq(near__heap_retained(0), 32 * MIB / STEPS * (STEPS - step + 1));
		after(STEP);
		expect_sound();
	}
	cr_assert_eq(near__heap_retained(0), 0);
}

Test(decay, the_initial_pool_stays)
{
	near__conf.decay_ms = PERIOD;
	near__conf.initial_pool = 8 * MIB;
	after(0);
	free_every_other_run();
	for (unsigned step = 0; step < 2 * STEPS; step++)
		after(STEP);
	cr_assert_leq(near__heap_retained(0), 8 * MIB);
	cr_assert_gt(near__heap_retained(0) + RUN, 8 * MIB);
}

/* A slice does not do more than it was asked for, and the rest comes soon. */
Test(decay, a_slice_is_bounded)
{
	uint64_t began = now;
	size_t before;

	near__conf.decay_ms = PERIOD;
	after(0);
	free_every_other_run();
	after(STEP);
	before = near__heap_retained(0);
	now += 2 * PERIOD;
	cr_assert_neq(slice(2 * MIB), KEEP_NOTHING, "there is much left");
	cr_assert_lt(near__heap_retained(0), before);
	cr_assert_geq(near__heap_retained(0), before - 2 * MIB - RUN);
	for (unsigned calls = 0; calls < RUNS && near__heap_retained(0); calls++)
		now += slice(2 * MIB);
	cr_assert_eq(near__heap_retained(0), 0);
	cr_assert_leq(now, began + 3 * PERIOD + 3 * STEP);
}

/* ---- the end ---------------------------------------------------------------------------------------- */

/* Of the empty magazines at most one in each segment is resident, beside its header, and one that has no neighbour yet. */
static void expect_cold(void)
{
	uint32_t segments = near__pool_end(&near__magazines) >> POOL_INDEX_BITS;

	cr_assert_gt(stack_top(&near__depot[0]->cold), 0);
	cr_assert_leq(near__depot[0]->empty.held, segments + 1);
}

/* All tiers hold something; nobody calls any more. */
TEST_IN_BOTH_MODES(decay, an_idle_heap_is_drained_and_left_alone)
{
	static void *objects[20000];
	uint64_t began, next;

	start(PERIOD);
	for (unsigned i = 0; i < ARRAY_LEN(objects); i++)
		objects[i] = near__malloc_slow(16 + i % 500);
	for (unsigned i = 0; i < ARRAY_LEN(objects); i++)
		give(objects[i]);
	give(near__malloc_slow(3 * MIB));
	give(near__malloc_slow(600 * KIB));
	began = now;
	while ((next = after(0)) != KEEP_NOTHING) {
		cr_assert_gt(next, 0);
		cr_assert_lt(now - began, 4 * PERIOD);
		now += next;
	}
	cr_assert(gone());
	cr_assert_eq(near__heap[0]->object_bytes, 0);
	cr_assert_eq(near__depot[0]->bytes, 0);
	expect_cold();
	cr_assert_eq(near__heap_retained(0), 0);
	cr_assert_eq(near__heap[0]->chunks.regions, 0, "nor address space");
	cr_assert_eq(near__heap[0]->chunks.reserved, 0);
	expect_sound();
	cr_assert_eq(after(10 * PERIOD), STEP, "the next call sets the clock again");
}

/* What is in use keeps its pages, and the end comes all the same. */
TEST_IN_BOTH_MODES(decay, survivors_do_not_keep_it_busy)
{
	static unsigned char *objects[20000];
	uint64_t next;

	start(PERIOD);
	for (unsigned i = 0; i < ARRAY_LEN(objects); i++) {
		objects[i] = near__malloc_slow(100);
		memset(objects[i], (int)i, 100);
	}
	for (unsigned i = 0; i < ARRAY_LEN(objects); i++) {
		if (i % 1000)
			give(objects[i]);
	}
	for (uint64_t began = now; (next = after(0)) != KEEP_NOTHING; now += next)
		cr_assert_lt(now - began, 4 * PERIOD);
	cr_assert_eq(near__heap_retained(0), 0);
	expect_cold();
	for (unsigned i = 0; i < ARRAY_LEN(objects); i += 1000)
		cr_assert(objects[i][0] == (unsigned char)i && objects[i][99] == (unsigned char)i);
	expect_sound();
}

/* ---- slow paths ------------------------------------------------------------------------------------- */

static void wait_ms(unsigned ms)
{
	struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

	nanosleep(&pause, NULL);
}

/* The coarse clock moves by some milliseconds at a time. */
enum { A_WHILE = 15 };

TEST_IN_BOTH_MODES(decay, slow_calls_look_at_the_clock_now_and_then)
{
	start(0);
	only_we_keep(false);
	table->ticks = 0;
	for (unsigned ticks = 0; ticks < KEEP_CALLS; ticks++)
		keep_tick(table); /* sets the clock */
	wait_ms(A_WHILE);
	for (unsigned ticks = 1; ticks < KEEP_CALLS; ticks++) {
		keep_tick(table);
		cr_assert_not(looked());
	}
	keep_tick(table);
	cr_assert(looked());
	for (unsigned look = 0; look < LOOKS; look++) {
		cr_assert_not(gone());
		wait_ms(A_WHILE);
		for (unsigned ticks = 0; ticks < KEEP_CALLS; ticks++)
			keep_tick(table);
	}
	cr_assert(gone());
	expect_sound();
}

/* Who gives memory back at this moment is not waited for. */
TEST_IN_BOTH_MODES(decay, a_slice_needs_the_purge_lock)
{
	start(0);
	only_we_keep(false);
	near__keep_slice();
	only_we_keep(true);
	for (unsigned look = 0; look < LOOKS + 2; look++) {
		wait_ms(A_WHILE);
		near__keep_slice();
	}
	cr_assert_not(looked());
	only_we_keep(false);
	near__keep_slice();
	cr_assert(looked());
}

/* From malloc alone, and from free alone, which is what a program calls. */
TEST_IN_BOTH_MODES(decay, allocating_brings_it_about)
{
	start(0);
	only_we_keep(false);
	for (unsigned i = 0; i < 40000 && !gone(); i++) {
		cr_assert_not_null(near__malloc_slow(16000));
		if (i % 500 == 0)
			wait_ms(5);
	}
	cr_assert(gone());
}

TEST_IN_BOTH_MODES(decay, freeing_brings_it_about)
{
	static void *held[40000];
	unsigned i = 0;

	start(0);
	only_we_keep(false);
	for (unsigned n = 0; n < ARRAY_LEN(held); n++)
		cr_assert_eq(near__span_take(0, class_of(16000), &held[n], 1), 1);
	for (; i < ARRAY_LEN(held) && !gone(); i++) {
		give(held[i]);
		if (i % 500 == 0)
			wait_ms(5);
	}
	cr_assert(gone());
	while (i < ARRAY_LEN(held))
		give(held[i++]);
	expect_sound();
}

/* decay_ms:0: nothing may be retained. */
TEST_IN_BOTH_MODES(decay, of_no_time_happens_in_the_free_itself)
{
	void *run, *mapping;

	start(0);
	only_we_keep(false);
	run = near__malloc_slow(600 * KIB);
	mapping = near__malloc_slow(3 * MIB);
	give(run);
	cr_assert_eq(near__heap_retained(0), 0);
	give(mapping);
	cr_assert_eq(near__heap_retained(0), 0);
	cr_assert_null(heap_wrong(0, true));
}
