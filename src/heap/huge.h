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
void near__heap_huge(struct chunk_heap *heap, struct chunk *chunk);
/* How many nanoseconds the first touch of such a chunk took. */
void near__heap_note_huge(uint64_t ns);
/* A part of the chunk was given back, and the kernel should not fill the hole. */
void near__heap_split_huge(struct chunk *chunk);

#endif
