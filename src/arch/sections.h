/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * The critical sections on the bins of the current CPU: the contract, and the choice of the backend.
 *
 * A bin is two words. A magazine is 2 KiB, aligned to that; slot 0 is always zero, slots 1..255 hold
 * pointers, filled from the bottom, and the slot below the lowest usable one is zero too:
 *
 *     slot   0    ..  255-k  256-k  ..          ..  255
 *          +----+----+-----+------+----+----+-----+----+
 *          | 0  |    |  0  |  p   | p  | p  |     |    |     capacity k, three pointers inside
 *          +----+----+-----+------+----+----+-----+----+
 *                                         ^ cursor
 *
 * Empty: the word at the cursor is zero. Full: the cursor stands in slot 255. A cursor in slot 255 of a magazine
 * whose slot 255 is zero is both at once; that is the nil magazine, which stands in every bin without one, and
 * in all bins of the stub table, which stands in for a table that is not there or not to be touched.
 *
 *     spare: 0 room for a magazine | 1 this is the stub, touch nothing | else the cursor of a spare magazine
 *
 * Each section finds the table in bases[cpu_id] (from -2 upward), does its test and ends in one store, the
 * commit. It is restarted from the beginning when the thread was preempted, migrated or signalled before the
 * commit, so it acts as if it were atomic among the threads of one CPU. Wait-free but for restarts.
 * `slot` is the bin's place in the table in words (twice its number).
 *
 *   section_pop             the topmost pointer, or NULL when empty
 *   section_push            true: full, nothing done
 *   section_take_spare      the spare, now absent; 0 when there is none, 1 from the stub
 *   section_put_spare       true: done; false: there is one, or this is the stub
 *   section_exchange_empty  the cursor of the loaded magazine, now replaced; 0 when it is not empty (any more), or the stub
 *   section_exchange_full   the same when it is full
 *
 * The last four tell in *table which table they worked on.
 *
 * One more is for finding out whether the kernel restarts sections at all: section_watch looks for so many turns
 * whether *word changes, in the area at `offset` from the thread pointer, and tells what came first.
 */
#ifndef NEAR_ARCH_SECTIONS_H
#define NEAR_ARCH_SECTIONS_H

#include <stdbool.h>

#include "base/atomic.h"

#define MAGAZINE_BYTES	  2048
#define MAGAZINE_SLOTS	  (MAGAZINE_BYTES / 8)
#define MAGAZINE_CAPACITY (MAGAZINE_SLOTS - 1)
#define MAGAZINE_TOP	  (MAGAZINE_BYTES - 8)
#define BIN_WORDS	  2
#define SPARE_NONE	  0
#define SPARE_STUB	  1

#define WATCH_NOTHING 0
#define WATCH_CHANGED 1
#define WATCH_ABORTED 2

/* The cursor's place in its magazine, as the sections mask it out. */
#define MAGAZINE_MASK [mask] "i"(MAGAZINE_BYTES - 1)

struct bin {
	uintptr_t cursor;
	uintptr_t spare;
};

_Static_assert(sizeof(struct bin) == 8 * BIN_WORDS, "the sections address bins in words");

/* Thread pointer to struct rseq; meaningful once near__rseq_ready() said so. Set once, before the fast paths open. */
extern HIDDEN ptrdiff_t near__rseq_offset;

/* Fields of the kernel's struct rseq that the sections use. */
#define RSEQ_CPU_ID 4
#define RSEQ_CS	    8

ALWAYS_INLINE int rseq_cpu_id(void)
{
	return load_relaxed((int32_t *)(thread_pointer() + (uintptr_t)near__rseq_offset + RSEQ_CPU_ID));
}

#if NEAR_WITH_RSEQ && defined(__x86_64__)
#include "arch/x86_64/sections.h"
#elif NEAR_WITH_RSEQ && defined(__aarch64__)
#include "arch/aarch64/sections.h"
#else
#include "arch/generic/sections.h"
#endif

#endif
