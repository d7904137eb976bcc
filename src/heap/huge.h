/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* Which chunks get huge pages, and when they lose them. */
#ifndef NEAR_HEAP_HUGE_H
#define NEAR_HEAP_HUGE_H

#include "heap/heap.h"

extern size_t near__huge_least;

/*
 * Asks for a huge page for a new chunk, if the heap is large, chunks made before it are dense, and huge pages come quickly.
 * Under the chunk lock.
 */
void near__huge_wish(struct chunk_heap *heap, struct chunk *chunk);
/*
 * Before pages of the chunk are taken, under the chunk lock. True: it is to have a huge page, and nothing of it is resident.
 * Then all of it counts as dirty, and the caller touches it, without the lock, by near__huge_touch.
 */
bool near__huge_begin(struct chunk_heap *heap, struct chunk *chunk);
/* `at` is the caller's own memory, whose contents are indifferent, or zero. */
void near__huge_touch(struct chunk *chunk, char *at);
/* How many nanoseconds the first touch of a new chunk took. False: it has got no huge page. */
bool near__huge_note(uint64_t ns);
/* A part of the chunk was given back, and the kernel should not fill the hole. */
void near__huge_split(struct chunk *chunk);
/* It is not mapped any more. */
void near__huge_forget(const struct chunk *chunk);

ALWAYS_INLINE bool chunk_is_huge(const struct chunk *chunk)
{
	return load_relaxed(&chunk->huge) == CHUNK_HUGE;
}

#endif
