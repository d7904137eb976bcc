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
#include "os/os.h"

enum { POOL_SEGMENT_BYTES = 1 << 16, POOL_MOST_SEGMENTS = 1 << 17 };

/* What belongs to a record while it is on a stack; written by its holder before the push. */
struct slot {
	uint32_t next;
	uint16_t cursor;   /* magazines: offset of the topmost pointer */
	uint8_t capacity;  /* magazines: usable slots */
};

struct stack {
	uint64_t head;
} ALIGNED(CACHE_LINE_PAIR);

struct segment;

struct pool {
	size_t record_bytes;
	size_t record_align;
	struct segment **at;	  /* by number, POOL_MOST_SEGMENTS */
	struct segment **current; /* by node: where fresh records come from */
	uint32_t segments;	  /* how many numbers are given out */
	struct stack free;	  /* records given back */
};

/* The arrays are apart, so that they take no place in the file. */
#define POOL_DEFINE(name, bytes, align)                                      \
	static struct segment *name##_segments[POOL_MOST_SEGMENTS];          \
	static struct segment *name##_current[OS_MAX_NODES];                 \
	struct pool name = {.record_bytes = (bytes),                         \
			    .record_align = (align),                         \
			    .at = name##_segments,                           \
			    .current = name##_current}

/* A record that nobody uses, contents unspecified but for fresh ones (zero); 0 when none can be had. */
uint32_t near__pool_take(struct pool *pool, unsigned node);
/* The same, but never one that was used before. */
uint32_t near__pool_take_fresh(struct pool *pool, unsigned node);
void near__pool_give(struct pool *pool, uint32_t index);

/* `index` was given out by this pool. */
void *near__pool_record(const struct pool *pool, uint32_t index);
struct slot *near__pool_slot(const struct pool *pool, uint32_t index);
/* `address` points into a record of this pool. */
uint32_t near__pool_index(const struct pool *pool, uintptr_t address);
/* No index at or above this has ever been given out. */
uint32_t near__pool_end(const struct pool *pool);
/* As near__pool_record, for any index below near__pool_end; NULL where there is no record yet. */
void *near__pool_peek(const struct pool *pool, uint32_t index);

void near__stack_push(struct stack *stack, const struct pool *pool, uint32_t index);
uint32_t near__stack_pop(struct stack *stack, const struct pool *pool);

ALWAYS_INLINE uint32_t stack_top(const struct stack *stack)
{
	return (uint32_t)load_acquire(&stack->head);
}

#endif
