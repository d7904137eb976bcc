/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Giving memory back to the kernel: free pages of chunks and of spans, whole regions.
 *
 * Who does it holds the purge lock, takes pages or a span out of circulation under the heap's lock, and calls the
 * kernel without it, so that no request waits for a madvise. The functions that say so are to be called under the purge
 * lock; they do nothing in a signal handler that came under one of the other locks.
 */
#ifndef NEAR_HEAP_PURGE_H
#define NEAR_HEAP_PURGE_H

#include "heap/heap.h"

/* Taken before any other lock, and never while one is held. */
extern struct lock near__purge_lock;
/* In the child of a fork, while it is mended: the thread that came along holds it. */
extern bool near__purger_survives;
/* The spans that are being purged; 0: none. */
extern uint32_t near__purging_spans[LENT_MOST];

/* False in a signal handler that came under a lock: what it takes out of circulation it may be unable to take back. */
bool near__purge_may_wait(void);

/* ---- under the purge lock -------------------------------------------------------------------------- */

/*
 * Gives dirty free pages of chunks back until at most about `keep` bytes of them stay, or `most` are done. Returns bytes.
 * `split`: also parts of huge pages.
 */
size_t near__chunk_purge(unsigned node, size_t keep, size_t most, bool split);
/* Gives back whole free pages inside spans that nobody used for `age` looks. Returns bytes. */
size_t near__span_purge(unsigned node, unsigned age);
/*
 * The same of spans of any age where it is likely to give something, from record `from` on, until so many records are seen
 * or `most` bytes done. Returns where to go on; 0: all have been seen.
 */
uint32_t near__span_squeeze(unsigned node, uint32_t from, uint32_t records, size_t most);
/*
 * A look at the spans, at `records` of them from index `from` on: those that were used for nothing are a look older, and
 * of those that are `age` looks old (some: from half of that on) whole free pages are given back. *left becomes true when
 * some are too young. Returns where to go on; 0: all have been seen.
 */
uint32_t near__span_look(uint32_t from, uint32_t records, unsigned age, bool *left);
/* A look at the regions: those that are not busy are a look older. *left becomes true when there are some. */
void near__region_look(unsigned node, bool *left);
/*
 * Unmaps the regions of which nothing was used for `age` looks; with `wait` for walkers, else nothing while there are
 * some. Returns bytes of address space.
 */
size_t near__region_release(unsigned node, unsigned age, bool wait);

/* ---- without --------------------------------------------------------------------------------------- */

/*
 * Unmaps the chunks of which nothing is used: their address space is wanted elsewhere. Waits for nobody: does nothing
 * while there are walkers.
 */
void near__chunk_release(unsigned node);

/* ---- region.c, for the others in this folder; under the chunk lock ---------------------------------- */

/* One more, or one fewer, of its chunks has a used page. */
void near__region_count(uint32_t region, bool busier);
void near__region_rebuild(struct chunk_heap *heap, unsigned node);

/* Around a change of a chunk's bitmaps: off its list; and counted anew, and on the right one. */
void near__chunk_unlink(struct chunk_heap *heap, struct chunk *chunk);
void near__chunk_settle(struct chunk_heap *heap, struct chunk *chunk, uint32_t index);

#endif
