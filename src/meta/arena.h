/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Memory for the allocator's own records: handed out once, zeroed, and never given back, so that a stale
 * pointer into it still reads a record of the same type. Apart from all user memory, each mapping between two guard
 * pages. Lock-free; any context.
 */
#ifndef NEAR_META_ARENA_H
#define NEAR_META_ARENA_H

#include "os/os.h"

/*
 * Zeroed memory near the dense node, aligned to a power of two, from 256 KiB on one of at most a page; NULL when none can
 * be had.
 */
void *near__arena_alloc(size_t bytes, size_t align, unsigned node);

/* Bytes mapped for arenas so far. */
size_t near__arena_mapped(void);

/* Counts metadata that was mapped directly, named by its start. */
void near__arena_note(void *start, size_t bytes);
/* Tells all mappings, one after the other. */
void near__arena_visit(void (*visit)(void *start, size_t bytes, void *argument), void *argument);

#endif
