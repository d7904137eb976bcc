/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* keep/decay, and the drain of what lies idle: outgoing bins go home when nobody used them from one look to the next. */
#include "keep/decay.h"

#include <time.h>

#include "base/conf.h"
#include "heap_check.h"
#include "machine.h"
#include "malloc/malloc.h"
#include "watch/nodes.h"

static struct cpu_table *table; /* of the CPU of node 0 */

enum { SIZE = 64, OTHER_SIZE = 96 };

static void give(void *object)
{
	near__free_slow(object, "free");
}

static unsigned loaded(unsigned node, size_t size)
{
	uintptr_t cursor = table->bins[bin_of(node, class_of(size))].cursor;

	return cursor == NIL_CURSOR ? 0 : near__magazine_count(cursor);
}

static void free_strangers(size_t size, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		void *object;

		cr_assert_eq(near__span_take(1, class_of(size), &object, 1), 1);
		give(object);
	}
}

/* One object of node 1 in its outgoing bin, two of another size, and one of node 0 in the local bin. */
static void start(void)
{
	machine_around_us(2);
	table = unit_on_node(0);
	give(near__malloc_slow(SIZE));
	free_strangers(SIZE, 1);
	free_strangers(OTHER_SIZE, 2);
	cr_assert(loaded(1, SIZE) == 1 && loaded(1, OTHER_SIZE) == 2 && loaded(0, SIZE) > 0);
}

static void expect_sound(void)
{
	near__drain_all();
	for (unsigned node = 0; node < near__nodes; node++) {
		const char *wrong;

		near__depot_trim(node);
		wrong = heap_wrong(node, true);
		cr_assert_null(wrong, "%s", wrong);
	}
	cr_assert_eq(table->charged, 0);
}

/* ---- looks ------------------------------------------------------------------------------------------ */

TEST_IN_BOTH_MODES(idle, what_lies_still_goes_home_at_the_second_look)
{
	unsigned local;

	start();
	local = loaded(0, SIZE);
	cr_assert_eq(unit_look(), 0);
	cr_assert_eq(loaded(1, SIZE), 1);
	cr_assert_eq(unit_look(), SIZE + 2 * OTHER_SIZE);
	cr_assert(loaded(1, SIZE) == 0 && loaded(1, OTHER_SIZE) == 0);
	cr_assert_eq(table->bins[bin_of(1, class_of(SIZE))].cursor, NIL_CURSOR);
	cr_assert_eq(loaded(0, SIZE), local, "local bins are the CPU's to keep");
	cr_assert_gt(near__depot[1]->bytes, 0);
	cr_assert_eq(near__depot[0]->bytes, 0);
	cr_assert_eq(table->counts.flushes_remote, 2);
	cr_assert(CPU_BASE[table->cpu] == table->bins || near__mode == NEAR_MODE_LOCKED);
	cr_assert_eq(unit_look(), 0);
	cr_assert_eq(unit_look(), 0);
	cr_assert_eq(loaded(0, SIZE), local);
	cr_assert_eq(near__drain_lock.word, 0);
	expect_sound();
}

TEST_IN_BOTH_MODES(idle, what_is_in_use_stays)
{
	start();
	for (unsigned round = 0; round < 4; round++) {
		cr_assert_eq(unit_look(), 0);
		free_strangers(SIZE, 1);
		free_strangers(OTHER_SIZE, 1);
	}
	cr_assert(loaded(1, SIZE) > 1 && loaded(1, OTHER_SIZE) > 2);
	expect_sound();
}

/* One bin lies still, the other does not. */
TEST_IN_BOTH_MODES(idle, each_bin_is_looked_at_for_itself)
{
	start();
	cr_assert_eq(unit_look(), 0);
	free_strangers(SIZE, 1);
	cr_assert_eq(unit_look(), 2 * OTHER_SIZE);
	cr_assert_eq(loaded(1, OTHER_SIZE), 0);
	cr_assert_eq(loaded(1, SIZE), 2, "it was used since");
	cr_assert_eq(unit_look(), 2 * SIZE, "but not since then");
	expect_sound();
}

TEST_IN_BOTH_MODES(idle, each_cpu_is_looked_at_for_itself)
{
	struct cpu_table *other;
	void *object;

	start();
	cr_assert_eq(unit_look(), 0);
	other = unit_on_node(1);
	cr_assert_eq(near__span_take(0, class_of(SIZE), &object, 1), 1);
	give(object);
	cr_assert_eq(unit_look(), SIZE + 2 * OTHER_SIZE);
	cr_assert_neq(other->bins[bin_of(0, class_of(SIZE))].cursor, NIL_CURSOR);
	cr_assert_eq(unit_look(), SIZE);
	cr_assert_eq(other->bins[bin_of(0, class_of(SIZE))].cursor, NIL_CURSOR);
	expect_sound();
}

TEST_IN_BOTH_MODES(idle, what_is_adopted_stays_on_the_node)
{
	struct near_node_pair pair;

	near__conf.remote_free = CONF_REMOTE_ADOPT;
	start();
	unit_look();
	cr_assert_eq(unit_look(), SIZE + 2 * OTHER_SIZE);
	cr_assert_eq(near__depot[1]->bytes, 0);
	cr_assert_gt(near__depot[0]->bytes, 0);
	near__node_pair(0, 1, &pair);
	cr_assert(pair.freed == 3 && pair.freed_bytes == SIZE + 2 * OTHER_SIZE, "%lu", (unsigned long)pair.freed);
	expect_sound();
}

TEST_IN_BOTH_MODES(idle, nobody_looks_while_somebody_drains)
{
	start();
	unit_look();
	near__drain_lock.word = STRANGER;
	cr_assert_eq(unit_look(), 0);
	cr_assert_eq(unit_look(), 0);
	near__drain_lock.word = 0;
	cr_assert_eq(unit_look(), SIZE + 2 * OTHER_SIZE);
	expect_sound();
}

/* A signal handler under the table's lock. */
Test(idle, a_held_table_is_left_alone)
{
	unit_mode(NEAR_MODE_LOCKED);
	start();
	unit_look();
	cr_assert(lock_acquire(&table->lock));
	cr_assert_eq(unit_look(), 0);
	lock_release(&table->lock);
	cr_assert(loaded(1, SIZE) == 1 && loaded(1, OTHER_SIZE) == 2);
	expect_sound();
}

Test(idle, before_start_up_has_ended)
{
	start();
	unit_look();
	near__mode = NEAR_MODE_EARLY;
	cr_assert_eq(unit_look(), 0);
	cr_assert_eq(unit_look(), 0);
}

TEST_IN_BOTH_MODES(idle, one_node_has_no_outgoing_bins)
{
	void *object;

	unit_pinned_table();
	object = near__malloc_slow(SIZE);
	give(object);
	for (unsigned i = 0; i < 4; i++)
		cr_assert_eq(unit_look(), 0);
	cr_assert_null(heap_wrong(0, false));
}

/* ---- the clock -------------------------------------------------------------------------------------- */

static void wait_ms(unsigned ms)
{
	struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

	nanosleep(&pause, NULL);
}

static bool looked(void)
{
	return table->seen[bin_of(1, class_of(SIZE))] != 0;
}

static bool gone(void)
{
	return loaded(1, SIZE) == 0;
}

TEST_IN_BOTH_MODES(decay, the_first_call_sets_the_clock)
{
	near__conf.decay_ms = 300;
	start();
	near__decay();
	cr_assert_not(looked());
	for (uint64_t began = near__os_milliseconds(); near__os_milliseconds() < began + 200;)
		near__decay();
	cr_assert_not(looked(), "it is not due yet");
	wait_ms(200);
	near__decay();
	cr_assert(looked() && !gone());
	near__decay();
	cr_assert_not(gone(), "the next is as far away");
	wait_ms(340);
	near__decay();
	cr_assert(gone());
	expect_sound();
}

TEST_IN_BOTH_MODES(decay, of_no_time_happens_at_once)
{
	near__conf.decay_ms = 0;
	start();
	near__decay();
	cr_assert_not(looked());
	near__decay();
	cr_assert(looked() && !gone());
	near__decay();
	cr_assert(gone());
}

/* Who never wants it says so with a large number. */
TEST_IN_BOTH_MODES(decay, of_all_time_never_happens)
{
	near__conf.decay_ms = UINT64_MAX;
	start();
	for (unsigned call = 0; call < 6; call++) {
		near__decay();
		wait_ms(10);
	}
	cr_assert_not(looked());
	cr_assert_not(gone());
}

TEST_IN_BOTH_MODES(decay, slow_calls_look_at_the_clock_now_and_then)
{
	unsigned ticks = 0;

	near__conf.decay_ms = 0;
	start();
	near__decay();
	table->ticks = 0;
	while (ticks < 2 * DECAY_CALLS + 2 && !looked()) {
		decay_tick(table);
		ticks++;
	}
	cr_assert_eq(ticks, DECAY_CALLS);
	while (ticks < 4 * DECAY_CALLS && !gone()) {
		decay_tick(table);
		ticks++;
	}
	cr_assert_eq(ticks, 2 * DECAY_CALLS);
}

/* From malloc alone, and from free alone, which is what a program calls. */
TEST_IN_BOTH_MODES(decay, allocating_brings_it_about)
{
	near__conf.decay_ms = 0;
	start();
	for (unsigned i = 0; i < 4000 && !gone(); i++)
		cr_assert_not_null(near__malloc_slow(16000));
	cr_assert(gone());
	cr_assert_gt(loaded(0, SIZE), 0);
}

TEST_IN_BOTH_MODES(decay, freeing_brings_it_about)
{
	static void *held[4000];
	unsigned i = 0;

	near__conf.decay_ms = 0;
	start();
	for (unsigned n = 0; n < ARRAY_LEN(held); n++)
		cr_assert_eq(near__span_take(0, class_of(16000), &held[n], 1), 1);
	while (i < ARRAY_LEN(held) && !gone())
		give(held[i++]);
	cr_assert(gone());
	cr_assert_gt(loaded(0, SIZE), 0);
	while (i < ARRAY_LEN(held))
		give(held[i++]);
	expect_sound();
}
