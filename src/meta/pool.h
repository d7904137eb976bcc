/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Pools of records of one type, named by 32-bit indices, and Treiber stacks of such records.
 *
 * Records live in segments of 64 KiB aligned to 64 KiB, so an address leads to its segment and index. Beside the
 * records each segment keeps one `slot` per record: what a stack needs to know of it. Records are type-stable:
 * never unmapped, so reading the slot of a record that somebody else has just popped is harmless.
 *
 *     stack head   63            32 31             0
 *                 +----------------+----------------+
 *                 |      tag       |     index      |     index 0: empty; the tag counts every change
 *                 +----------------+----------------+
 *
 * A popper that slept through 2^32 changes of one head could be deceived, and nothing less (R. K. Treiber, 1986;
 * the tag is the version counter of IBM's free-list algorithm).
 *
 *               push                        pop
 *     push      retry by CAS, lock-free     retry by CAS, lock-free
 *     pop       as left                     as left; `next` may be stale, then the tag refuses the CAS
 *
 * Edges: P0 the release in the CAS of push pairs with P1 the acquire of the head in pop: record and slot are seen
 * as they were pushed. A preempted or killed thread leaves at most the record in its hands. Safe in signal handlers.
 */
#ifndef NEAR_META_POOL_H
#define NEAR_META_POOL_H

#include "base/atomic.h"
#include "base/bits.h"
#include "os/os.h"

enum { POOL_SEGMENT_BYTES = 1 << 16, POOL_MOST_SEGMENTS = 1 << 17 };

/* What belongs to a record while it is on a stack; written by its holder before the push. */
struct slot {
	uint32_t next;
	uint16_t cursor;   /* magazines: offset of the topmost pointer */
	uint8_t capacity;  /* magazines: usable slots */
};

/* Several CPUs write it: give it CACHE_LINE_PAIR to itself. */
struct stack {
	uint64_t head;
};

/* An index is the number of its segment and the position inside. Segment numbers start at 1, so no index is 0. */
enum { POOL_INDEX_BITS = 10, POOL_FIRST = 1 << POOL_INDEX_BITS, POOL_INDEX_MASK = POOL_FIRST - 1 };

struct segment {
	uint32_t number;
	uint32_t records;
	uint32_t first; /* offset of the first record */
	uint32_t used;	/* fresh records taken; may run past `records`, which means none left */
	struct slot slots[] ALIGNED(CACHE_LINE);
};

struct pool {
	size_t record_bytes;
	size_t record_align;
	uint64_t inverse;	  /* 2^32 / record_bytes, rounded up: no division on the way from an address */
	struct segment **at;	  /* by number, POOL_MOST_SEGMENTS */
	struct segment **current; /* by node: where fresh records come from */
	uint32_t segments;	  /* how many numbers are given out */
	struct stack free ALIGNED(CACHE_LINE_PAIR); /* records given back */
};

/* The arrays are apart, so that they take no place in the file. */
#define POOL_DEFINE(name, bytes, align)                                      \
	static struct segment *name##_segments[POOL_MOST_SEGMENTS] VAST;     \
	static struct segment *name##_current[OS_MAX_NODES];                 \
	struct pool name = {.record_bytes = (bytes),                         \
			    .record_align = (align),                         \
			    .inverse = (1ull << 32) / (bytes) + 1,           \
			    .at = name##_segments,                           \
			    .current = name##_current}

/* A record that nobody uses, contents unspecified but for fresh ones (zero); 0 when none can be had. */
uint32_t near__pool_take(struct pool *pool, unsigned node);
/* The same, but never one that was used before. */
uint32_t near__pool_take_fresh(struct pool *pool, unsigned node);
void near__pool_give(struct pool *pool, uint32_t index);

/* No index at or above this has ever been given out. */
uint32_t near__pool_end(const struct pool *pool);
/* As pool_record, for any index below near__pool_end; NULL where there is no record yet. */
void *near__pool_peek(const struct pool *pool, uint32_t index);

void near__stack_push(struct stack *stack, const struct pool *pool, uint32_t index);
uint32_t near__stack_pop(struct stack *stack, const struct pool *pool);

/* ---- `index` was given out by this pool ------------------------------------------------------------ */

ALWAYS_INLINE struct segment *pool_segment(const struct pool *pool, uint32_t index)
{
	return load_acquire(&pool->at[index >> POOL_INDEX_BITS]); /* S1 */
}

ALWAYS_INLINE void *pool_record(const struct pool *pool, uint32_t index)
{
	struct segment *s = pool_segment(pool, index);

	return (char *)s + s->first + (index & POOL_INDEX_MASK) * pool->record_bytes;
}

ALWAYS_INLINE struct slot *pool_slot(const struct pool *pool, uint32_t index)
{
	return &pool_segment(pool, index)->slots[index & POOL_INDEX_MASK];
}

/* ---- `address` points into a record of this pool --------------------------------------------------- */

ALWAYS_INLINE struct segment *pool_segment_at(uintptr_t address)
{
	return (struct segment *)round_down(address, POOL_SEGMENT_BYTES);
}

/* Exact, because an offset is less than 2^16. */
ALWAYS_INLINE uint32_t pool_position_at(const struct pool *pool, uintptr_t address)
{
	const struct segment *s = pool_segment_at(address);

	return (uint32_t)((address - (uintptr_t)s - s->first) * pool->inverse >> 32);
}

ALWAYS_INLINE uint32_t pool_index(const struct pool *pool, uintptr_t address)
{
	return pool_segment_at(address)->number << POOL_INDEX_BITS | pool_position_at(pool, address);
}

ALWAYS_INLINE struct slot *pool_slot_at(const struct pool *pool, uintptr_t address)
{
	return &pool_segment_at(address)->slots[pool_position_at(pool, address)];
}

ALWAYS_INLINE uint32_t stack_top(const struct stack *stack)
{
	return (uint32_t)load_acquire(&stack->head);
}

#endif
