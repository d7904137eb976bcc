/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * The end of start-up, while threads run that the constructor of another library has started. The fast paths read the
 * limit and then what was written before it, neither with acquire; the fence of all CPUs makes up for that.
 * `near__rseq_offset` stands for all that is constant from then on.
 *
 * Shown: who sees the limit sees the rest.
 *
 * fails: BROKEN_FENCE arm       the limit is set without the fence of all CPUs
 * fails: BROKEN_EARLY arm       the limit is set before it
 */
#define THREADS 2
#define DEPTH	4
#define LOG	8

#define near__rseq_offset 0
#define near__mode	  1
#define near__small_limit 2
#define WORDS		  3

#include "memory.pml"

inline near__membarrier_fence_all(me)
{
	atomic {
		stored(0) && stored(1) ->
		fence_seq_cst(me);
		fence_other(1)
	}
}

/* src/malloc/init.c */
inline start(me)
{
	store_plain(me, near__rseq_offset, 1);
	store_release(me, near__mode, 1);
#if defined(BROKEN_EARLY)
	store_relaxed(me, near__small_limit, 1);
#endif
#if !defined(BROKEN_FENCE)
	near__membarrier_fence_all(me);
#endif
	omitted(store_release(near__pagemap_limit))
	store_release(me, near__small_limit, 1)
}

proctype Starter(byte me)
{
	start(me);
	leave(me)
}

/* Of src/malloc/fast.h. */
inline fast_malloc(me)
{
	load_plain(me, near__small_limit, limit);
	if
	:: limit ->
		load_plain(me, near__rseq_offset, offset);
		assert(offset)
	:: else
	fi
}

proctype Caller(byte me)
{
	byte limit, offset;

	fast_malloc(me);
	fast_malloc(me);
	leave(me)
}

init
{
	atomic {
		run Starter(0);
		run Caller(1)
	}
}
