/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* cache/drain: bins that nobody used from one look to the next are emptied into the spans of their nodes. */
#include "base/conf.h"
#include "heap_check.h"
#include "keep/keep.h"
#include "machine.h"
#include "malloc/malloc.h"
#include "refuse.h"
#include "watch/nodes.h"

static struct cpu_table *table; /* of the CPU of node 0 */

enum { SIZE = 64, OTHER_SIZE = 96 };

static void give(void *object)
{
	near__free_slow(object, "free");
}

static unsigned count(uintptr_t cursor)
{
	return cursor == NIL_CURSOR || cursor <= SPARE_STUB ? 0 : near__magazine_count(cursor);
}

/* Objects in a bin of the table. */
static unsigned held(unsigned node, size_t size)
{
	const struct bin *bin = &table->bins[bin_of(node, class_of(size))];

	return count(bin->cursor) + count(bin->spare);
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
	cr_assert(held(1, SIZE) == 1 && held(1, OTHER_SIZE) == 2 && held(0, SIZE) > 0);
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
	unit_expect_sound();
	cr_assert_eq(table->charged, 0);
}

/* ---- looks ------------------------------------------------------------------------------------------ */

/* What start put into the bins. */
static size_t all_bytes(unsigned local)
{
	return (1 + local) * SIZE + 2 * OTHER_SIZE;
}

TEST_IN_BOTH_MODES(idle, what_lies_still_goes_home_at_the_second_look)
{
	unsigned local;

	start();
	local = held(0, SIZE);
	cr_assert_eq(unit_look(), 0);
	cr_assert(held(1, SIZE) == 1 && held(0, SIZE) == local);
	cr_assert_eq(unit_look(), all_bytes(local));
	cr_assert(held(1, SIZE) == 0 && held(1, OTHER_SIZE) == 0 && held(0, SIZE) == 0);
	cr_assert_eq(table->bins[bin_of(1, class_of(SIZE))].cursor, NIL_CURSOR);
	cr_assert_eq(table->bins[bin_of(0, class_of(SIZE))].cursor, NIL_CURSOR);
	for (unsigned node = 0; node < 2; node++) {
		cr_assert_eq(near__depot[node]->bytes, 0, "idle there would be idle here");
		cr_assert_eq(near__heap[node]->object_bytes, 0);
	}
	cr_assert_eq(table->counts.flushes_remote, 2);
	cr_assert(CPU_BASE[table->cpu] == table->bins || near__mode == NEAR_MODE_LOCKED);
	cr_assert_eq(unit_look(), 0);
	cr_assert_eq(unit_look(), 0);
	cr_assert_eq(near__drain_lock.word, 0);
	expect_sound();
}

TEST_IN_BOTH_MODES(idle, what_is_in_use_stays)
{
	void *taken[4];

	start();
	for (unsigned round = 0; round < 4; round++) {
		cr_assert_eq(unit_look(), 0);
		taken[round] = near__malloc_slow(SIZE);
		free_strangers(SIZE, 1);
		free_strangers(OTHER_SIZE, 1);
	}
	cr_assert(held(1, SIZE) > 1 && held(1, OTHER_SIZE) > 2 && held(0, SIZE) > 0);
	for (unsigned round = 0; round < 4; round++)
		give(taken[round]);
	expect_sound();
}

/* Some bins lie still, others do not. */
TEST_IN_BOTH_MODES(idle, each_bin_is_looked_at_for_itself)
{
	unsigned local;
	void *taken;

	start();
	local = held(0, SIZE);
	cr_assert_eq(unit_look(), 0);
	free_strangers(SIZE, 1);
	cr_assert_eq(unit_look(), local * SIZE + 2 * OTHER_SIZE);
	cr_assert(held(1, OTHER_SIZE) == 0 && held(0, SIZE) == 0);
	cr_assert_eq(held(1, SIZE), 2, "it was used since");
	taken = near__malloc_slow(SIZE);
	local = held(0, SIZE);
	cr_assert_gt(local, 0);
	cr_assert_eq(unit_look(), 2 * SIZE, "but not since then");
	cr_assert_eq(held(0, SIZE), local, "nor was this seen before");
	cr_assert_eq(unit_look(), local * SIZE);
	give(taken);
	expect_sound();
}

TEST_IN_BOTH_MODES(idle, each_cpu_is_looked_at_for_itself)
{
	struct cpu_table *other;
	unsigned local;
	void *object;

	start();
	local = held(0, SIZE);
	cr_assert_eq(unit_look(), 0);
	other = unit_on_node(1);
	cr_assert_eq(near__span_take(0, class_of(SIZE), &object, 1), 1);
	give(object);
	cr_assert_eq(unit_look(), all_bytes(local));
	cr_assert_neq(other->bins[bin_of(0, class_of(SIZE))].cursor, NIL_CURSOR);
	cr_assert_eq(unit_look(), SIZE);
	cr_assert_eq(other->bins[bin_of(0, class_of(SIZE))].cursor, NIL_CURSOR);
	expect_sound();
}

/* Not one look is enough where more are asked for, and use in between begins anew. */
TEST_IN_BOTH_MODES(idle, as_many_looks_as_are_asked_for)
{
	unsigned local;
	bool left;

	start();
	local = held(0, SIZE);
	for (unsigned look = 0; look < LOOKS; look++) {
		left = false;
		if (look == 3)
			free_strangers(OTHER_SIZE, 1);
		cr_assert_eq(near__drain_idle(LOOKS, &left), 0, "look %u", look);
		cr_assert(left);
	}
	left = false;
	cr_assert_eq(near__drain_idle(LOOKS, &left), (1 + local) * SIZE);
	cr_assert(left, "the other is left");
	for (unsigned look = 0; look < 2; look++)
		cr_assert_eq(near__drain_idle(LOOKS, &left), 0);
	cr_assert_eq(near__drain_idle(LOOKS, &left), 3 * OTHER_SIZE);
	left = false;
	cr_assert_eq(near__drain_idle(LOOKS, &left), 0);
	cr_assert_not(left);
	expect_sound();
}

/* A magazine in a bin holds memory even if it is empty. */
TEST_IN_BOTH_MODES(idle, empty_magazines_go_too)
{
	struct bin *bin;
	bool left = false;

	machine_around_us(2);
	table = unit_on_node(0);
	bin = &table->bins[bin_of(0, class_of(SIZE))];
	while (bin->cursor == NIL_CURSOR || count(bin->cursor) + count(bin->spare))
		cr_assert_not_null(near__malloc_slow(SIZE));
	cr_assert_neq(bin->cursor, NIL_CURSOR);
	near__drain_idle(1, &left);
	cr_assert(left);
	cr_assert_eq(near__drain_idle(1, &left), 0);
	cr_assert_eq(bin->cursor, NIL_CURSOR);
	cr_assert_eq(table->charged, 0);
}

/* They are nobody's to adopt who did not use them. */
TEST_IN_BOTH_MODES(idle, what_would_be_adopted_goes_home_too)
{
	struct near_node_pair pair;
	unsigned local;

	near__conf.remote_free = CONF_REMOTE_ADOPT;
	start();
	local = held(0, SIZE);
	unit_look();
	cr_assert_eq(unit_look(), all_bytes(local));
	cr_assert_eq(near__depot[1]->bytes, 0);
	cr_assert_eq(near__depot[0]->bytes, 0);
	cr_assert_eq(near__heap[1]->object_bytes, 0);
	near__node_pair(0, 1, &pair);
	cr_assert(pair.freed == 3 && pair.freed_bytes == SIZE + 2 * OTHER_SIZE, "%lu", (unsigned long)pair.freed);
	expect_sound();
}

TEST_IN_BOTH_MODES(idle, nobody_looks_while_somebody_drains)
{
	unsigned local;
	bool left = false;

	start();
	local = held(0, SIZE);
	unit_look();
	near__drain_lock.word = STRANGER;
	cr_assert_eq(unit_look(), 0);
	cr_assert_eq(near__drain_idle(1, &left), 0);
	cr_assert(left, "not known to be empty");
	near__drain_lock.word = 0;
	cr_assert_eq(unit_look(), all_bytes(local));
	expect_sound();
}

/* A signal handler under the table's lock. */
Test(idle, a_held_table_is_left_alone)
{
	unsigned local;

	unit_mode(NEAR_MODE_LOCKED);
	start();
	local = held(0, SIZE);
	unit_look();
	cr_assert(lock_acquire(&table->lock));
	cr_assert_eq(unit_look(), 0);
	lock_release(&table->lock);
	cr_assert(held(1, SIZE) == 1 && held(1, OTHER_SIZE) == 2 && held(0, SIZE) == local);
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

TEST_IN_BOTH_MODES(idle, one_node_is_no_exception)
{
	unsigned bytes;

	table = unit_pinned_table();
	give(near__malloc_slow(SIZE));
	bytes = held(0, SIZE) * SIZE;
	cr_assert_eq(unit_look(), 0);
	cr_assert_eq(unit_look(), bytes);
	cr_assert_eq(unit_look(), 0);
	cr_assert_eq(near__heap[0]->object_bytes, 0);
	cr_assert_eq(table->counts.flushes_remote, 0);
	cr_assert_null(heap_wrong(0, true));
}

Test(idle, nobody_looks_where_no_thread_can_be_had)
{
	unit_mode(NEAR_MODE_RSEQ);
	refuse_call(SYS_clone3);
	near__janitor_start();
	cr_assert_not(near__janitor_runs());
	cr_assert_not(near__heap_decays, "then slow paths give back at once");
}
