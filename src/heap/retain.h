/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* How much free memory a node may retain. */
#ifndef NEAR_HEAP_RETAIN_H
#define NEAR_HEAP_RETAIN_H

#include "heap/heap.h"

enum heap_wish {
	HEAP_TOO_MUCH = 1,  /* more is retained than the allowance */
	HEAP_SPARSE = 2,    /* spans are mostly holes: perhaps because of what caches hold */
	HEAP_UNSAMPLED = 4, /* it is time to ask what of it is resident */
	HEAP_HOLLOW = 8,    /* the heap grows, and spans have holes that could have served */
	HEAP_GROWN = 16,    /* by a part: perhaps for what depots hold and nobody needs */
	HEAP_TOLD = 32,	    /* the janitor was woken for these */
};

/* Bits of enum heap_wish that some node has; whoever acts on one clears it first. */
extern uint32_t near__heap_wishes;
/* Somebody else gives back what was not used for a while, so that frees need not. */
extern bool near__heap_decays;

/* Some pages were taken, or have become free, or an extent; some objects went back to their spans. */
void near__heap_wish(unsigned node);
void near__heap_note_objects(unsigned node, size_t freed);
/* Bytes of spans that no object has; caches hold nothing of a node any more, of which spans had so many before. */
size_t near__heap_holes(unsigned node);
void near__heap_note_emptied(unsigned node, size_t holes_before);

/* The node's heap makes so many bytes of pages resident. */
void near__heap_note_grown(unsigned node, size_t bytes);
/* Whether spans have so many more holes than when their pages were given back last that it is worth doing again. */
bool near__heap_is_hollow(unsigned node);
/* Objects took the place of holes: there are fewer than then. */
void near__heap_note_filled(unsigned node);
/* That was done; `whole`: to the end. */
void near__heap_note_hollow(unsigned node, bool whole);

/* Bytes of chunks that are not free. */
size_t near__heap_in_use(const struct chunk_heap *heap);
/* Bytes of resident free pages, and of extents, that a node may retain; and what it does, of both. */
size_t near__chunk_allowance(unsigned node);
size_t near__extent_allowance(unsigned node);
size_t near__heap_retained(unsigned node);

/* Memory was given back; memory is in use that was not there, and if that was given back before, so much may stay. */
void near__regret_given(struct regret *regret, size_t bytes);
void near__regret_taken(struct regret *regret, size_t bytes, size_t most);

/* What of dirty free pages is resident, as far as samples tell; what of pages that are taken will be; */
size_t near__heap_resident(unsigned node, size_t dirty);
size_t near__heap_touched(unsigned node, size_t taken);
/* and the other way round: how many bytes of dirty free pages hold so many that are resident. */
size_t near__heap_dirt(unsigned node, size_t resident);
/*
 * A run of so many bytes, of blocks of so many, should begin at a multiple of the result. Where programs write to the
 * beginning of their blocks only, those pages are written to again then, and others never; shorter runs fill what is
 * between.
 */
size_t near__heap_grid(const struct chunk_heap *heap, size_t bytes, size_t block);
/* Whether giving dirty free pages back is worth trying: not soon after the kernel refused (memory that is locked). */
bool near__heap_loose(const struct chunk_heap *heap);
/*
 * Adds to the counts what is resident of a chunk's pages: of those in use, and of those that are free and dirty. False: the
 * kernel does not tell.
 */
bool near__chunk_resident(const struct chunk *chunk, unsigned *used, unsigned *dirty);
/* Takes samples. Under the purge lock. */
void near__heap_sample(unsigned node);

#endif
