/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Magazines and the depots that hold them. Lock-free but for flushing into the spans.
 *
 * Of a magazine on a stack the slot beside it (meta/pool.h) remembers the cursor and the capacity.
 */
#include <string.h>

#include "base/conf.h"
#include "cache/cache.h"
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

static void push(struct stack *stack, uintptr_t cursor)
{
	uint32_t index = index_of(cursor);

	near_invariant(base_of(cursor) != (uintptr_t)near__nil_magazine);
	pool_slot(&near__magazines, index)->cursor = (uint16_t)(cursor & (MAGAZINE_BYTES - 1));
	near__stack_push(stack, &near__magazines, index);
}

/* ---- empty ones ----------------------------------------------------------------------------------- */

static uint32_t take_empty(unsigned node)
{
	if (!near__depot[node]) /* start-up failed half-way */
		return 0;
	return near__stack_pop(&near__depot[node]->empty, &near__magazines);
}

uintptr_t near__magazine_take(unsigned node, unsigned own)
{
	uint32_t index = take_empty(node);

	if (!index && own != node)
		index = take_empty(own);
	for (unsigned any = 0; !index && any < near__nodes; any++)
		index = take_empty(any);
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
	slot_of(cursor)->capacity = (uint8_t)capacity;
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
	struct stack *stack = &depot->full[bin_class(bin)];

	if (!stack_top(stack))
		return 0;

	uint32_t index = near__stack_pop(stack, &near__magazines);

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
	uint64_t bytes = load_relaxed(&near__depot[bin_node(bin)]->bytes);

	if (magazine_is_empty(cursor) || bytes + worth(bin, cursor) > near__conf.depot_cache)
		near__depot_flush(bin, cursor);
	else
		keep_full(bin, cursor);
}

size_t near__depot_trim(unsigned node)
{
	size_t bytes = 0;

	for (unsigned class = 1; class <= CLASSES; class++) {
		unsigned bin = bin_of(node, class);
		uintptr_t cursor;

		while ((cursor = near__depot_pop(bin))) {
			size_t objects = (size_t)near__magazine_count(cursor) * near__class[class].bytes;

			if (!near__depot_flush(bin, cursor))
				break;
			bytes += objects;
		}
	}
	return bytes;
}
