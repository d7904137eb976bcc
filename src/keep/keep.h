/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * What becomes of free memory that nobody uses. The janitor does the work, or where there is none slow paths do, a slice
 * at a time.
 *
 *     step    16 in decay_ms: dirty pages and extents beyond what may still lie there are given back
 *     look     8 in cache_ttl: bins, depots and spans that were not used for 8 looks are emptied, and what becomes free by
 *             that is old already, and goes at once
 */
#ifndef NEAR_KEEP_KEEP_H
#define NEAR_KEEP_KEEP_H

#include "cache/cache.h"
#include "heap/purge.h"
#include "heap/retain.h"

enum { KEEP_CALLS = 64 }; /* slow calls on a CPU between two looks at the clock */

#define KEEP_NOTHING UINT64_MAX
#define KEEP_ALL     SIZE_MAX

/*
 * Does what is due, of it about `most` bytes or as many records. Returns milliseconds until more is; KEEP_NOTHING: not
 * before somebody frees or allocates. Under the purge lock.
 */
uint64_t near__keep_step(uint64_t now, size_t most);

/* Looks at the clock, and does a slice of what is due. No lock may be held. */
void near__keep_slice(void);
/* Acts on near__heap_wishes, or has the janitor do it. No lock may be held. */
void near__keep_wishes(void);
/* The former, under the purge lock. Only the janitor waits for walkers. */
void near__keep_fulfil(bool janitor);

/* ---- janitor.c ------------------------------------------------------------------------------------- */

/*
 * The program makes a thread, or wants the janitor without. Starts it if that is allowed and it is not there yet. It does
 * not keep a process alive whose main thread has ended.
 */
void near__janitor_start(void);
void near__janitor_wake(void);
void near__janitor_after_fork(void);
bool near__janitor_runs(void);
/* It sleeps until it is woken; see near__janitor_wake. */
extern HIDDEN uint32_t near__janitor_asleep;

/* ---- on slow paths --------------------------------------------------------------------------------- */

ALWAYS_INLINE void keep_tick(struct cpu_table *table)
{
	uint32_t ticks = load_relaxed(&table->ticks) + 1;

	store_relaxed(&table->ticks, ticks);
	if (unlikely(load_relaxed(&near__janitor_asleep)))
		near__janitor_wake();
	if (unlikely(ticks % KEEP_CALLS == 0))
		near__keep_slice();
	if (unlikely(load_relaxed(&near__heap_wishes) & (HEAP_HOLLOW | HEAP_GROWN)))
		near__keep_wishes();
}

/* Call last, when memory was given to the heap. */
ALWAYS_INLINE void keep_after_free(void)
{
	if (unlikely(load_relaxed(&near__heap_wishes)))
		near__keep_wishes();
}

#endif
