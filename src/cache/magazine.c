/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Magazines and the depots that hold them. Lock-free but for flushing into the spans.
 *
 * Of a magazine on a stack the slot beside it (meta/pool.h) remembers the cursor and the capacity.
 */
#include <string.h>

#include "cache/cache.h"
#include "heap/retain.h"
#include "os/os.h"

POOL_DEFINE(near__magazines, MAGAZINE_BYTES, MAGAZINE_BYTES);
struct depot *near__depot[OS_MAX_NODES];

static uintptr_t base_of(uintptr_t cursor)
{
	return round_down(cursor, MAGAZINE_BYTES);
}

static uint32_t index_of(uintptr_t cursor)
{
	return pool_index(&near__magazines, base_of(cursor));
}

static struct slot *slot_of(uintptr_t cursor)
{
	return pool_slot_at(&near__magazines, cursor);
}

static uintptr_t cursor_at(uint32_t index)
{
	return (uintptr_t)pool_record(&near__magazines, index) + pool_slot(&near__magazines, index)->cursor;
}

/* What the slot remembers while the magazine is on a stack. */
static void mark(uint32_t index, uint16_t cursor)
{
	store_relaxed(&pool_slot(&near__magazines, index)->cursor, cursor);
}

/* Counted before it can be popped, and not counted any more after it was: never below zero. */
static void push(struct shelf *shelf, uintptr_t cursor)
{
	uint32_t index = index_of(cursor);

	near_invariant(base_of(cursor) != (uintptr_t)near__nil_magazine);
	mark(index, (uint16_t)(cursor & (MAGAZINE_BYTES - 1)));
	fetch_add_relaxed(&shelf->held, 1u);
	near__stack_push(&shelf->stack, &near__magazines, index);
}

static void lower(uint32_t *least, uint32_t left)
{
	if (left < load_relaxed(least))
		store_relaxed(least, left);
}

static uint32_t pop(struct shelf *shelf)
{
	uint32_t index = stack_top(&shelf->stack) ? near__stack_pop(&shelf->stack, &near__magazines) : 0, left;

	if (!index)
		return 0;
	left = fetch_sub_relaxed(&shelf->held, 1u) - 1;
	lower(&shelf->least, left);
	lower(&shelf->low, left);
	return index;
}

/* ---- empty ones ----------------------------------------------------------------------------------- */

static uint32_t take_empty(unsigned node)
{
	if (!near__depot[node]) /* start-up failed half-way */
		return 0;
	return pop(&near__depot[node]->empty);
}

static uint32_t take_cold(unsigned node)
{
	struct stack *cold = &near__depot[node]->cold;

	return stack_top(cold) ? near__stack_pop(cold, &near__magazines) : 0;
}

uintptr_t near__magazine_take(unsigned node, unsigned own)
{
	uint32_t index = take_empty(node);

	if (!index && own != node)
		index = take_empty(own);
	for (unsigned any = 0; !index && any < near__nodes; any++)
		index = take_empty(any);
	if (!index && near__depot[own])
		index = take_cold(own);
	if (!index)
		index = near__pool_take(&near__magazines, own);
	return index ? (uintptr_t)pool_record(&near__magazines, index) : 0;
}

void near__magazine_give(uintptr_t cursor, unsigned node)
{
	push(&near__depot[node]->empty, base_of(cursor));
}

uintptr_t near__magazine_prepare(uintptr_t cursor, unsigned capacity)
{
	uintptr_t bottom = base_of(cursor) + (MAGAZINE_CAPACITY - capacity) * 8;

	near_invariant(capacity >= 1 && capacity <= MAGAZINE_CAPACITY);
	near_invariant(!*(uintptr_t *)base_of(cursor));
	*(uintptr_t *)bottom = 0; /* the sentinel: whatever the last user left there must not be popped */
	store_relaxed(&slot_of(cursor)->capacity, (uint8_t)capacity);
	return bottom;
}

uintptr_t near__magazine_grow(uintptr_t cursor, unsigned capacity)
{
	uintptr_t *from = (uintptr_t *)base_of(cursor) + MAGAZINE_SLOTS - magazine_capacity(cursor);
	size_t n = (size_t)((uintptr_t *)cursor - from) + 1;

	memmove((uintptr_t *)near__magazine_prepare(cursor, capacity) + 1, from, n * sizeof(*from));
	return base_of(cursor) + (MAGAZINE_SLOTS - capacity + n - 1) * sizeof(*from);
}

unsigned near__magazine_count(uintptr_t cursor)
{
	unsigned n = 0;

	for (const uintptr_t *p = (const uintptr_t *)cursor; load_relaxed(p); p--)
		n++;
	return n;
}

/* ---- full ones ------------------------------------------------------------------------------------ */

static uint64_t worth(unsigned bin, uintptr_t cursor)
{
	return (uint64_t)magazine_capacity(cursor) * near__class[bin_class(bin)].bytes;
}

uintptr_t near__depot_pop(unsigned bin)
{
	struct depot *depot = near__depot[bin_node(bin)];
	uint32_t index = pop(&depot->full[bin_class(bin)]);

	if (!index)
		return 0;

	uintptr_t cursor = cursor_at(index);

	fetch_sub_relaxed(&depot->bytes, worth(bin, cursor));
	return cursor;
}

/* Returns the cursor of what is left: nothing, unless a signal handler interrupted a span lock. */
static uintptr_t flush_objects(unsigned bin, uintptr_t cursor)
{
	unsigned n = near__magazine_count(cursor);

	return n ? cursor - 8 * near__span_give(bin_class(bin), (void **)cursor - (n - 1), n, "free") : cursor;
}

static void keep_full(unsigned bin, uintptr_t cursor)
{
	struct depot *depot = near__depot[bin_node(bin)];

	fetch_add_relaxed(&depot->bytes, worth(bin, cursor));
	push(&depot->full[bin_class(bin)], cursor);
}

bool near__depot_flush(unsigned bin, uintptr_t cursor)
{
	cursor = flush_objects(bin, cursor);
	if (!magazine_is_empty(cursor)) {
		keep_full(bin, cursor);
		return false;
	}
	near__magazine_give(cursor, bin_node(bin));
	return true;
}

void near__depot_push(unsigned bin, uintptr_t cursor)
{
	struct depot *depot = near__depot[bin_node(bin)];
	uint64_t budget = near__cache_budget(near__depot_budget, bin_node(bin), load_relaxed(&depot->regret.regretted));

	if (!magazine_is_empty(cursor) && load_relaxed(&depot->bytes) + worth(bin, cursor) <= budget) {
		keep_full(bin, cursor);
		return;
	}
	near__regret_given(&depot->regret, (size_t)near__magazine_count(cursor) * near__class[bin_class(bin)].bytes);
	near__depot_flush(bin, cursor);
}

/* Objects of a magazine on a stack, by what its slot remembers. Whoever pops it meanwhile may have changed that. */
static unsigned objects_at(uint32_t index)
{
	const struct slot *slot = pool_slot(&near__magazines, index);
	unsigned top = load_relaxed(&slot->cursor) / 8, bottom = MAGAZINE_CAPACITY - load_relaxed(&slot->capacity);

	return top > bottom && top < MAGAZINE_SLOTS ? top - bottom : 0;
}

uint64_t near__depot_cached(unsigned node)
{
	uint64_t bytes = 0;

	for (unsigned class = 1; class <= CLASSES; class++) {
		const struct shelf *shelf = &near__depot[node]->full[class];
		uint32_t left = load_relaxed(&shelf->held), index = stack_top(&shelf->stack);

		/* The way may lead astray to another stack, but has an end. */
		for (; index && left; left--, index = load_relaxed(&pool_slot(&near__magazines, index)->next))
			bytes += (uint64_t)objects_at(index) * near__class[class].bytes;
	}
	return bytes;
}

/* ---- giving back ---------------------------------------------------------------------------------- */

/* Up to `most` full magazines of a bin into the spans. */
static size_t flush_full(unsigned bin, uint32_t most)
{
	size_t bytes = 0;
	uintptr_t cursor;

	for (; most && (cursor = near__depot_pop(bin)); most--) {
		size_t objects = (size_t)near__magazine_count(cursor) * near__class[bin_class(bin)].bytes;

		if (!near__depot_flush(bin, cursor))
			break;
		bytes += objects;
	}
	return bytes;
}

/* Of magazines in the hands of near__depot_chill; no cursor stands so high. */
enum { IN_HAND = UINT16_MAX };

static bool is_marked(uint32_t index)
{
	return load_relaxed(&pool_slot(&near__magazines, index)->cursor) == IN_HAND;
}

/* The magazines of a page, if all are in hand: their memory goes, and they are not marked any more. */
static bool purge_page_of(uint32_t index)
{
	uintptr_t page = round_down((uintptr_t)pool_record(&near__magazines, index), near__os_page_size);
	uintptr_t end = page + near__os_page_size;

	if (page < (uintptr_t)pool_record(&near__magazines, index & ~(uint32_t)POOL_INDEX_MASK))
		return false; /* the segment's header lies there too */
	for (uintptr_t at = page; at < end; at += MAGAZINE_BYTES) {
		if (!is_marked(index_of(at)))
			return false;
	}
	if (near__os_purge((void *)page, near__os_page_size))
		return false;
	for (uintptr_t at = page; at < end; at += MAGAZINE_BYTES)
		mark(index_of(at), 0);
	return true;
}

size_t near__depot_chill(unsigned node, uint32_t most)
{
	struct depot *depot = near__depot[node];
	struct stack hand = {0};
	size_t bytes = 0;
	uint32_t index;

	depot->stuck = 0;
	for (; most && (index = take_empty(node)); most--) {
		mark(index, IN_HAND);
		near__stack_push(&hand, &near__magazines, index);
	}
	while ((index = near__stack_pop(&hand, &near__magazines))) {
		if (is_marked(index) && purge_page_of(index))
			bytes += near__os_page_size;
		if (is_marked(index)) {
			near__magazine_give((uintptr_t)pool_record(&near__magazines, index), node);
			depot->stuck++;
		} else {
			near__stack_push(&depot->cold, &near__magazines, index);
		}
	}
	return bytes;
}

size_t near__depot_trim(unsigned node)
{
	size_t bytes = 0;

	for (unsigned class = 1; class <= CLASSES; class++)
		bytes += flush_full(bin_of(node, class), UINT32_MAX);
	return bytes;
}

enum { SHED_WORTH = 256 << 10 };

void near__depot_shed(unsigned node)
{
	struct depot *depot = near__depot[node];

	if (load_relaxed(&depot->bytes) < SHED_WORTH)
		return;
	for (unsigned class = 1; class <= CLASSES; class++) {
		struct shelf *shelf = &depot->full[class];

		flush_full(bin_of(node, class), load_relaxed(&shelf->low));
		store_relaxed(&shelf->low, load_relaxed(&shelf->held));
	}
}

/* How many magazines nobody needed during the last LOOKS looks. */
static uint32_t surplus_of(struct shelf *shelf, unsigned look)
{
	uint32_t surplus = UINT32_MAX;

	shelf->window[look % LOOKS] = load_relaxed(&shelf->least);
	store_relaxed(&shelf->least, load_relaxed(&shelf->held));
	for (unsigned i = 0; i < LOOKS; i++)
		surplus = shelf->window[i] < surplus ? shelf->window[i] : surplus;
	for (unsigned i = 0; i < LOOKS; i++)
		shelf->window[i] -= surplus;
	return surplus;
}

size_t near__depot_look(unsigned node, unsigned look, bool *left)
{
	struct depot *depot = near__depot[node];
	size_t bytes = 0;
	uint32_t surplus;

	for (unsigned class = 1; class <= CLASSES; class++) {
		surplus = surplus_of(&depot->full[class], look);
		bytes += surplus ? flush_full(bin_of(node, class), surplus) : 0;
		*left |= stack_top(&depot->full[class].stack) != 0;
	}
	surplus = surplus_of(&depot->empty, look);
	if (surplus)
		near__depot_chill(node, surplus + depot->stuck);
	*left |= load_relaxed(&depot->empty.held) > depot->stuck;
	return bytes;
}
