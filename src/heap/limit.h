/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * The limits of the process, asked before the heap grows: where memory comes into use that was not ours, or not resident.
 *
 * The footprint is what may be resident: used and dirty pages of chunks, large mappings, extents, metadata.
 */
#ifndef NEAR_HEAP_LIMIT_H
#define NEAR_HEAP_LIMIT_H

#include "heap/heap.h"

size_t near__limit_footprint(void);
/*
 * Whether the heap may grow by so much. False at limit_hard, and once at limit_soft: then memory is to be given back first,
 * near__limit_relax called and, if that was not enough, near__limit_waive.
 */
bool near__limit_allows(size_t bytes);
/* Whether so much more would stay below both. Nothing is noted. */
bool near__limit_leaves(size_t bytes);
/* There are limits: it is worth counting what to ask for. */
bool near__limit_any(void);
/* All that could be given back was, for somebody who wants so much. */
void near__limit_relax(size_t wanted);
/*
 * Others had what near__limit_relax allowed: until near__limit_heed the soft limit refuses nobody, and then nobody again before
 * less than limit_soft was in use. False: there is none, nor anything to heed.
 */
bool near__limit_waive(void);
void near__limit_heed(void);
/* In the child: those who had waived it did not come along. */
void near__limit_after_fork(void);
/* NEAR_LIMIT_SOFT or NEAR_LIMIT_HARD if the last question was answered by false, else 0. */
int near__limit_reached(void);
void near__limit_soft(size_t bytes);

/* Bytes of large mappings in the program's hands. */
size_t near__limit_mapped(void);
void near__limit_note_mapped(size_t bytes, bool more);

#endif
