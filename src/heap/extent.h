/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* Mappings of freed large blocks, kept for the next ones. */
#ifndef NEAR_HEAP_EXTENT_H
#define NEAR_HEAP_EXTENT_H

#include "heap/heap.h"

/* A mapping of at least `bytes`, a block from now on and nobody else's; 0: none fits. May be a piece of a larger one. */
uint32_t near__extent_take(unsigned node, size_t bytes, size_t align);
/* The largest of those that are smaller, but not by much, SPAN_HELD; 0: there is none. */
uint32_t near__extent_take_smaller(unsigned node, size_t bytes);
/* Keeps the mapping of a span that is SPAN_HELD, or unmaps it where that is asked for and nobody may be reading it. */
void near__extent_give(uint32_t index);
/*
 * Unmaps the longest unused ones until at most `keep` bytes stay. Returns bytes. With `wait` for walkers, else nothing
 * is done while there are some. A mapping that the kernel refuses to unmap is purged, and stays.
 */
size_t near__extent_trim(unsigned node, size_t keep, bool wait);
void near__extent_relink(struct extent_list *list, struct span *span, uint32_t index);

#endif
