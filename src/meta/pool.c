/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* Pools and stacks. Everything here is lock-free. */
#include "meta/pool.h"

#include "base/bits.h"
#include "meta/arena.h"

static struct segment *segment_make(struct pool *pool, unsigned node)
{
	struct segment *s = NULL;

	if (load_relaxed(&pool->segments) + 1 < POOL_MOST_SEGMENTS)
		s = near__arena_alloc(POOL_SEGMENT_BYTES, POOL_SEGMENT_BYTES, node);
	if (!s)
		return NULL;

	uint32_t number = fetch_add_relaxed(&pool->segments, 1u) + 1;

	if (number >= POOL_MOST_SEGMENTS) {
		fetch_sub_relaxed(&pool->segments, 1u);
		return NULL; /* some 10^8 records: the arena keeps the 64 KiB */
	}

	size_t records = size_min((POOL_SEGMENT_BYTES - sizeof(*s)) / (pool->record_bytes + sizeof(struct slot)),
				  1 << POOL_INDEX_BITS);
	size_t first = round_up(sizeof(*s) + records * sizeof(struct slot), pool->record_align);

	while (first + records * pool->record_bytes > POOL_SEGMENT_BYTES)
		records--;
	s->number = number;
	s->records = (uint32_t)records;
	s->first = (uint32_t)first;
	store_release(&pool->at[number], s); /* S0 */
	return s;
}

static uint32_t take_from(struct segment *s)
{
	if (load_relaxed(&s->used) >= s->records)
		return 0;

	uint32_t position = fetch_add_relaxed(&s->used, 1u);

	return position < s->records ? s->number << POOL_INDEX_BITS | position : 0;
}

uint32_t near__pool_take_fresh(struct pool *pool, unsigned node)
{
	for (;;) {
		struct segment *s = load_acquire(&pool->current[node]); /* S3 */
		uint32_t index = s ? take_from(s) : 0;

		if (index)
			return index;

		struct segment *made = segment_make(pool, node);

		if (!made)
			return 0;
		if (cas_acq_rel(&pool->current[node], &s, made)) /* S2 pairs with S3 */
			continue;
		/* Somebody was quicker. The segment has its number already, so its records go to the free ones. */
		for (index = take_from(made); index; index = take_from(made))
			near__pool_give(pool, index);
	}
}

uint32_t near__pool_take(struct pool *pool, unsigned node)
{
	uint32_t index = near__stack_pop(&pool->free, pool);

	return index ? index : near__pool_take_fresh(pool, node);
}

void near__pool_give(struct pool *pool, uint32_t index)
{
	near__stack_push(&pool->free, pool, index);
}

uint32_t near__pool_end(const struct pool *pool)
{
	uint32_t last = (uint32_t)size_min(load_relaxed(&pool->segments), POOL_MOST_SEGMENTS - 1);
	const struct segment *s = load_acquire(&pool->at[last]); /* S1; NULL: nobody has a record of it yet */

	return (last << POOL_INDEX_BITS) + (s ? (uint32_t)size_min(load_relaxed(&s->used), s->records) : 0);
}

void *near__pool_peek(const struct pool *pool, uint32_t index)
{
	struct segment *s = pool_segment(pool, index);

	if (!s || (index & POOL_INDEX_MASK) >= s->records || (index & POOL_INDEX_MASK) >= load_relaxed(&s->used))
		return NULL;
	return pool_record(pool, index);
}

static uint64_t head_of(uint64_t old, uint32_t index)
{
	return ((old >> 32) + 1) << 32 | index;
}

enum { MOST_PAUSES = 2048 };

/*
 * After a CAS that failed, so that many CPUs that want one head do not keep each other from it. Returns what it is then.
 */
static uint64_t back_off(const struct stack *stack, unsigned *pauses)
{
	*pauses = *pauses < MOST_PAUSES ? *pauses * 2 : *pauses;
	for (unsigned i = 0; i < *pauses; i++)
		cpu_relax();
	return load_acquire(&stack->head); /* P1 */
}

void near__stack_push(struct stack *stack, const struct pool *pool, uint32_t index)
{
	struct slot *slot = pool_slot(pool, index);
	uint64_t head = load_relaxed(&stack->head);
	unsigned pauses = 1;

	for (;;) {
		store_relaxed(&slot->next, (uint32_t)head);
		if (cas_acq_rel(&stack->head, &head, head_of(head, index))) /* P0 */
			return;
		head = back_off(stack, &pauses);
	}
}

uint32_t near__stack_pop(struct stack *stack, const struct pool *pool)
{
	uint64_t head = load_acquire(&stack->head); /* P1 */
	unsigned pauses = 1;

	while ((uint32_t)head) {
		uint32_t next = load_relaxed(&pool_slot(pool, (uint32_t)head)->next);

		if (cas_acq_rel(&stack->head, &head, head_of(head, next))) /* P1 */
			return (uint32_t)head;
		head = back_off(stack, &pauses);
	}
	return 0;
}
