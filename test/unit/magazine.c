/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* cache/magazine: the sentinel, empties, and depots with their bound. */
#include "base/conf.h"
#include "heap_check.h"
#include "unit.h"

enum { CLASS = 4, BYTES = 64 };

/* A magazine with n real objects. */
static uintptr_t filled(unsigned node, unsigned class, unsigned n)
{
	uintptr_t cursor = round_down(near__magazine_take(node, node), MAGAZINE_BYTES) + MAGAZINE_TOP;

	cr_assert_eq(near__span_take(node, class, (void **)cursor, n), n);
	near__magazine_prepare(cursor, n);
	return cursor;
}

static unsigned empties(unsigned node)
{
	return stack_length(&near__depot[node]->empty.stack);
}

Test(magazine, prepare_zeroes_the_slot_below_the_lowest)
{
	uintptr_t cursor = near__magazine_take(0, 0);

	for (unsigned capacity = 1; capacity <= MAGAZINE_CAPACITY; capacity++) {
		uintptr_t base = round_down(cursor, MAGAZINE_BYTES);

		for (unsigned slot = 1; slot < MAGAZINE_SLOTS; slot++)
			((uintptr_t *)base)[slot] = 0xaaaa0; /* what the last user left */
		cursor = near__magazine_prepare(base + 8 * (capacity * 7 % MAGAZINE_SLOTS), capacity);
		cr_assert_eq(cursor, base + 8 * (MAGAZINE_CAPACITY - capacity));
		cr_assert(magazine_is_empty(cursor));
		cr_assert_eq(near__magazine_count(cursor), 0);
		cr_assert_eq(magazine_capacity(cursor), capacity);
		cr_assert_eq(near__magazine_count(cursor + 8 * capacity), capacity);
		cr_assert_eq(*(uintptr_t *)base, 0, "slot 0 is always zero");
	}
}

Test(magazine, empties_come_back_last_in_first_out)
{
	uintptr_t a = near__magazine_take(0, 0), b = near__magazine_take(0, 0);

	cr_assert_eq(a % MAGAZINE_BYTES, 0);
	cr_assert_neq(a, b);
	near__magazine_give(a + 40, 0);
	near__magazine_give(b + MAGAZINE_TOP, 0);
	cr_assert_eq(round_down(near__magazine_take(0, 0), MAGAZINE_BYTES), b);
	cr_assert_eq(round_down(near__magazine_take(0, 0), MAGAZINE_BYTES), a);
}

/* The node that the objects go to first, then one's own, and only then a new one. */
Test(magazine, empties_of_other_nodes_are_used)
{
	uintptr_t a, b;

	unit_two_nodes();
	a = near__magazine_take(0, 0);
	b = near__magazine_take(0, 0);
	near__magazine_give(a, 0);
	near__magazine_give(b, 1);
	cr_assert_eq(near__magazine_take(1, 0), b);
	cr_assert_eq(near__magazine_take(1, 0), a);
	near__magazine_give(a, 1);
	cr_assert_eq(near__magazine_take(0, 0), a, "rather than growing");
}

/* Where two threads made a segment at once, the records of one of them are in the pool. */
Test(magazine, records_left_in_the_pool_are_used)
{
	uint32_t index = near__pool_take(&near__magazines, 0);

	near__pool_give(&near__magazines, index);
	cr_assert_eq(near__magazine_take(0, 0), (uintptr_t)pool_record(&near__magazines, index));
}

Test(depot, full_ones_come_back_with_cursor_and_capacity)
{
	unsigned bin = bin_of(0, CLASS);
	uintptr_t a = filled(0, CLASS, 63), b = filled(0, CLASS, 10);

	near__depot_push(bin, a);
	near__depot_push(bin, b - 24); /* some were taken: any magazine with objects can be kept */
	cr_assert_eq(near__depot[0]->bytes, (63 + 10) * BYTES, "what they have room for");
	cr_assert_eq(near__depot_cached(0), (63 + 7) * BYTES, "what is in them");
	cr_assert_eq(near__depot_pop(bin), b - 24);
	cr_assert_eq(near__depot_cached(0), 63 * BYTES);
	cr_assert_eq(near__magazine_count(b - 24), 7);
	cr_assert_eq(magazine_capacity(b), 10);
	cr_assert_eq(near__depot_pop(bin), a);
	cr_assert_eq(near__depot[0]->bytes, 0);
	cr_assert_eq(near__depot_pop(bin), 0);
	cr_assert_eq(near__depot_pop(bin_of(0, CLASS + 1)), 0);
}

Test(depot, empty_ones_go_to_the_empties)
{
	uintptr_t cursor = near__magazine_prepare(near__magazine_take(0, 0), 5);

	near__depot_push(bin_of(0, CLASS), cursor);
	cr_assert_eq(near__depot_pop(bin_of(0, CLASS)), 0);
	cr_assert_eq(empties(0), 1);
}

Test(depot, beyond_its_bound_objects_go_home)
{
	unsigned bin = bin_of(0, CLASS);

	near__depot_budget = 3 * 63 * BYTES;
	for (unsigned i = 0; i < 8; i++)
		near__depot_push(bin, filled(0, CLASS, 63));
	cr_assert_eq(near__depot[0]->bytes, 3 * 63 * BYTES);
	cr_assert_null(heap_wrong(0, true));
	cr_assert_eq(near__depot_trim(0), 3 * 63 * BYTES);
	cr_assert_eq(near__depot[0]->bytes, 0);
	cr_assert_eq(near__depot_cached(0), 0);
	unit_span_trim(0);
	for (uint32_t i = 1; i < near__pool_end(&near__spans); i++)
		cr_assert(!span_or_null(i) || span_or_null(i)->state == SPAN_UNUSED);
}

/* Objects that the program has, for the depot to hold as many. */
static void use(unsigned node, size_t bytes)
{
	void *object;

	for (; bytes; bytes -= CLASS_LARGEST)
		cr_assert_eq(near__span_take(node, CLASSES, &object, 1), 1);
}

Test(depot, trim_takes_all_classes_of_the_node_alone)
{
	unit_two_nodes();
	near__depot_budget = 64 * MIB;
	use(0, 64 * MIB);
	use(1, 64 * MIB);
	for (unsigned class = 1; class <= CLASSES; class ++) {
		near__depot_push(bin_of(0, class), filled(0, class, 1));
		near__depot_push(bin_of(1, class), filled(1, class, 1));
	}
	near__depot_trim(0);
	cr_assert_eq(near__depot[0]->bytes, 0);
	cr_assert_neq(near__depot[1]->bytes, 0);
	cr_assert_eq(empties(0), CLASSES);
	near__depot_trim(1);
	cr_assert_eq(near__depot[1]->bytes, 0);
	cr_assert_eq(empties(1), CLASSES);
}

/* A signal handler that interrupted the span lock: nothing is lost, and nothing goes round for ever. */
Test(depot, a_refused_flush_keeps_the_magazine, .timeout = 10)
{
	unsigned bin = bin_of(0, CLASS);
	uintptr_t cursor = filled(0, CLASS, 63);
	struct lock *lock = &near__heap[0]->spans[CLASS].lock;

	cr_assert(lock_acquire(lock));
	near__depot_budget = 0;
	near__depot_push(bin, cursor);
	cr_assert_eq(near__depot_trim(0), 0);
	lock_release(lock);
	cr_assert_eq(near__depot_pop(bin), cursor);
	cr_assert(near__depot_flush(bin, cursor));
	cr_assert_eq(empties(0), 1);
}
