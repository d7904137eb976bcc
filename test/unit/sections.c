/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* arch: the six steps on a bin of a real table, as sections and in their locked form, and what the stub answers. */
#include "unit.h"

enum { CLASS = 3, SLOT = CLASS * BIN_WORDS };

/* The table that the sections work on now. */
static struct cpu_table *table;

static void *pop(void)
{
	if (near__mode == NEAR_MODE_RSEQ)
		return section_pop(CPU_BASE, SLOT);
	return near__locked_pop(&table->lock, &table->bins[CLASS]);
}

static bool push(void *object)
{
	if (near__mode == NEAR_MODE_RSEQ)
		return section_push(CPU_BASE, SLOT, object);
	return near__locked_push(&table->lock, &table->bins[CLASS], object);
}

static uintptr_t take_spare(void)
{
	struct bin *bins;
	uintptr_t spare;

	if (near__mode != NEAR_MODE_RSEQ)
		return near__locked_take_spare(&table->lock, &table->bins[CLASS]);
	spare = section_take_spare(CPU_BASE, SLOT, &bins);
	cr_assert_eq(table_of(bins), table);
	return spare;
}

static bool put_spare(uintptr_t cursor)
{
	struct bin *bins;
	bool done;

	if (near__mode != NEAR_MODE_RSEQ)
		return near__locked_put_spare(&table->lock, &table->bins[CLASS], cursor);
	done = section_put_spare(CPU_BASE, SLOT, cursor, &bins);
	cr_assert_eq(table_of(bins), table);
	return done;
}

static uintptr_t exchange_empty(uintptr_t cursor)
{
	struct bin *bins;
	uintptr_t old;

	if (near__mode != NEAR_MODE_RSEQ)
		return near__locked_exchange_empty(&table->lock, &table->bins[CLASS], cursor);
	old = section_exchange_empty(CPU_BASE, SLOT, cursor, &bins);
	cr_assert_eq(table_of(bins), table);
	return old;
}

static uintptr_t exchange_full(uintptr_t cursor)
{
	struct bin *bins;
	uintptr_t old;

	if (near__mode != NEAR_MODE_RSEQ)
		return near__locked_exchange_full(&table->lock, &table->bins[CLASS], cursor);
	old = section_exchange_full(CPU_BASE, SLOT, cursor, &bins);
	cr_assert_eq(table_of(bins), table);
	return old;
}

static uintptr_t new_magazine(unsigned capacity)
{
	uintptr_t cursor = near__magazine_take(0, 0);

	cr_assert_neq(cursor, 0);
	return near__magazine_prepare(cursor, capacity);
}

static void *object(uintptr_t number)
{
	return (void *)(number * 16);
}

TEST_IN_BOTH_MODES(sections, a_bin_without_a_magazine)
{
	table = unit_pinned_table();
	cr_assert_null(pop());
	cr_assert(push(object(1)));
	cr_assert_eq(take_spare(), SPARE_NONE);
	cr_assert_eq(table->bins[CLASS].cursor, NIL_CURSOR);
	cr_assert_eq(exchange_empty(new_magazine(1)), NIL_CURSOR);
	cr_assert_null(pop());
}

/* A magazine of every capacity takes just so many, and gives them back in reverse. */
TEST_IN_BOTH_MODES(sections, push_and_pop)
{
	uintptr_t first = new_magazine(1), old;

	table = unit_pinned_table();
	cr_assert_eq(exchange_full(first), NIL_CURSOR);
	for (unsigned capacity = 1; capacity <= MAGAZINE_CAPACITY; capacity++) {
		uintptr_t magazine = new_magazine(capacity);

		old = exchange_empty(magazine);
		cr_assert_neq(old, 0);
		cr_assert_null(pop());
		for (unsigned i = 1; i <= capacity; i++)
			cr_assert_not(push(object(i)), "capacity %u, object %u", capacity, i);
		cr_assert(push(object(99)));
		cr_assert_eq(near__magazine_count(table->bins[CLASS].cursor), capacity);
		for (unsigned i = capacity; i >= 1; i--)
			cr_assert_eq(pop(), object(i));
		cr_assert_null(pop());
		cr_assert_eq(table->bins[CLASS].cursor, magazine, "back where it began");
	}
}

TEST_IN_BOTH_MODES(sections, garbage_above_the_cursor_is_harmless)
{
	uintptr_t magazine = new_magazine(5);

	table = unit_pinned_table();
	*(uintptr_t *)(magazine + 8) = 0xdead0; /* an aborted push left it */
	cr_assert_eq(exchange_empty(magazine), NIL_CURSOR);
	cr_assert_null(pop());
	cr_assert_not(push(object(7)));
	cr_assert_eq(pop(), object(7));
	cr_assert_null(pop());
}

TEST_IN_BOTH_MODES(sections, one_spare_at_most)
{
	uintptr_t a = new_magazine(3), b = new_magazine(3);

	table = unit_pinned_table();
	cr_assert(put_spare(a));
	cr_assert_not(put_spare(b));
	cr_assert_eq(table->bins[CLASS].spare, a);
	cr_assert_eq(take_spare(), a);
	cr_assert_eq(take_spare(), SPARE_NONE);
	cr_assert(put_spare(b));
	cr_assert_eq(take_spare(), b);
	cr_assert_eq(table->bins[CLASS].cursor, NIL_CURSOR, "the loaded one is another matter");
}

TEST_IN_BOTH_MODES(sections, exchange_only_while_still_empty_or_full)
{
	uintptr_t a = new_magazine(2), b = new_magazine(2);

	table = unit_pinned_table();
	cr_assert_eq(exchange_empty(a), NIL_CURSOR);
	cr_assert_eq(exchange_full(b), 0, "empty, not full");
	cr_assert_not(push(object(1)));
	cr_assert_eq(exchange_empty(b), 0, "half full");
	cr_assert_eq(exchange_full(b), 0, "half full");
	cr_assert_not(push(object(2)));
	cr_assert_eq(exchange_empty(b), 0, "full");
	cr_assert_eq(exchange_full(b), a + 16);
	cr_assert_null(pop());
	cr_assert_eq(exchange_empty(a), b);
}

TEST_IN_BOTH_MODES(sections, bins_do_not_touch_their_neighbours)
{
	struct bin before, after;

	table = unit_pinned_table();
	before = table->bins[CLASS - 1];
	after = table->bins[CLASS + 1];
	exchange_empty(new_magazine(2));
	put_spare(new_magazine(2));
	push(object(1));
	cr_assert(!memcmp(&before, &table->bins[CLASS - 1], sizeof(before)));
	cr_assert(!memcmp(&after, &table->bins[CLASS + 1], sizeof(after)));
}

/* ---- the stub ------------------------------------------------------------------------------------- */

static void expect_stub_answers(void)
{
	uintptr_t magazine = new_magazine(2);
	size_t bytes = near__table_bins() * sizeof(struct bin);
	static struct bin before[OS_MAX_NODES * CLASSES + 1];

	memcpy(before, near__stub->bins, bytes);
	cr_assert_null(pop());
	cr_assert(push(object(1)));
	cr_assert_eq(take_spare(), SPARE_STUB);
	cr_assert_not(put_spare(magazine));
	cr_assert_eq(exchange_empty(magazine), 0);
	cr_assert_eq(exchange_full(magazine), 0);
	cr_assert(!memcmp(before, near__stub->bins, bytes), "the stub was written");
	for (unsigned i = 0; i < MAGAZINE_SLOTS; i++)
		cr_assert_eq(near__nil_magazine[i], 0);
}

TEST_IN_BOTH_MODES(sections, the_stub_answers_no)
{
	struct cpu_table *own = unit_pinned_table();

	if (near__mode == NEAR_MODE_RSEQ)
		CPU_BASE[own->cpu] = near__stub->bins;
	table = near__stub;
	expect_stub_answers();
}

Test(sections, the_stub_stands_where_there_is_no_table)
{
	cr_assert_eq(CPU_BASE[-2], near__stub->bins);
	cr_assert_eq(CPU_BASE[-1], near__stub->bins);
	cr_assert_eq(LOCAL_BASE[-2], near__stub->bins);
	cr_assert_eq(LOCAL_BASE[-1], near__stub->bins);
	for (unsigned cpu = 0; cpu < near__cpus; cpu++) {
		cr_assert_eq(CPU_BASE[cpu], near__stub->bins);
		cr_assert_eq(LOCAL_BASE[cpu], near__stub->bins);
	}
	for (unsigned bin = 0; bin < near__table_bins(); bin++) {
		cr_assert_eq(near__stub->bins[bin].cursor, NIL_CURSOR);
		cr_assert_eq(near__stub->bins[bin].spare, SPARE_STUB);
	}
}

/* Pointers that are no object of a class have bin 0: free needs no test for them. */
TEST_IN_BOTH_MODES(sections, bin_0_is_the_stub_in_every_table)
{
	struct bin *bins;

	table = unit_pinned_table();
	cr_assert_eq(table->bins[0].spare, SPARE_STUB);
	if (near__mode == NEAR_MODE_LOCKED)
		return;
	cr_assert(section_push(CPU_BASE, 0, object(1)));
	cr_assert_null(section_pop(CPU_BASE, 0));
	cr_assert_not(section_put_spare(CPU_BASE, 0, new_magazine(2), &bins));
	cr_assert_eq(section_exchange_full(CPU_BASE, 0, new_magazine(2), &bins), 0);
}

/* A signal handler that interrupted a step of the locked form sees the stub. */
Test(sections, a_held_table_lock_answers_as_the_stub, .timeout = 10)
{
	uintptr_t magazine = new_magazine(2);

	unit_mode(NEAR_MODE_LOCKED);
	table = unit_pinned_table();
	cr_assert(lock_acquire(&table->lock));
	cr_assert_null(pop());
	cr_assert(push(object(1)));
	cr_assert_eq(take_spare(), SPARE_STUB);
	cr_assert_not(put_spare(magazine));
	cr_assert_eq(exchange_empty(magazine), 0);
	cr_assert_eq(exchange_full(magazine), 0);
	lock_release(&table->lock);
	cr_assert_eq(table->bins[CLASS].cursor, NIL_CURSOR);
	cr_assert_eq(table->bins[CLASS].spare, SPARE_NONE);
}
