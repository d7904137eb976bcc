/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * The memories themselves, by the usual litmus tests: what is forbidden does not happen, and what a machine may do
 * does.
 *
 * fails: BROKEN_FENCE    tso arm   store buffering, without fences
 * fails: BROKEN_RELEASE  arm       message passing, without release
 * fails: BROKEN_ACQUIRE  arm       message passing, without acquire
 * fails: BROKEN_ADDRESS  arm       message passing, where no address depends
 * fails: BROKEN_RMW      arm       a load is served from before the store of a read-modify-write
 * fails: BROKEN_ATOMIC   tso arm   an increment by load and store is lost
 */
#define WORDS 2
#define THREADS 4
#define DEPTH 2
#define LOG 6
#define x 0
#define y 1

#include "memory.pml"

#if defined(BROKEN_FENCE)
#define fence_stores(t) skip
#else
#define fence_stores(t) fence_seq_cst(t)
#endif

#if defined(BROKEN_RELEASE)
#define store_flag store_relaxed
#else
#define store_flag store_release
#endif

#if defined(BROKEN_ACQUIRE)
#define load_flag load_relaxed
#else
#define load_flag load_acquire
#endif

#if defined(BROKEN_ADDRESS)
#define load_there load_relaxed
#else
#define load_there load_at
#endif

#if defined(BROKEN_RMW)
#define fence_rmw(t) skip
#else
#define fence_rmw(t) fence_seq_cst(t)
#endif

mtype = { buffering, passing, address, exchanging, coherence_of_one, reads_of_two, counting }
mtype test;
byte left = THREADS;
byte a[THREADS], b[THREADS];

inline stores_then_loads(me, mine, other)
{
	store_relaxed(me, mine, 1);
	fence_stores(me);
	load_relaxed(me, other, a[me])
}

inline exchanges_then_loads(me, mine, other)
{
	exchange_acq_rel(me, mine, 1, b[me]);
	fence_rmw(me);
	load_relaxed(me, other, a[me])
}

inline increments(me)
{
#if defined(BROKEN_ATOMIC)
	load_relaxed(me, x, a[me]);
	store_relaxed(me, x, a[me] + 1)
#else
	fetch_add_relaxed(me, x, 1, a[me])
#endif
}

proctype First()
{
	if
	:: test == buffering -> stores_then_loads(0, x, y)
	:: test == exchanging -> exchanges_then_loads(0, x, y)
	:: test == passing || test == address ->
		store_relaxed(0, x, 1);
		store_flag(0, y, 1)
	:: test == coherence_of_one ->
		store_relaxed(0, x, 1);
		store_relaxed(0, x, 2)
	:: test == reads_of_two -> store_relaxed(0, x, 1)
	:: test == counting -> increments(0)
	fi;
	left--
}

proctype Second()
{
	if
	:: test == buffering -> stores_then_loads(1, y, x)
	:: test == exchanging -> exchanges_then_loads(1, y, x)
	:: test == passing ->
		load_flag(1, y, a[1]);
		load_relaxed(1, x, b[1])
	:: test == address ->
		load_address(1, y, a[1]);
		load_there(1, x, b[1])
	:: test == coherence_of_one ->
		load_relaxed(1, x, a[1]);
		load_relaxed(1, x, b[1])
	:: test == reads_of_two -> store_relaxed(1, y, 1)
	:: test == counting -> increments(1)
	fi;
	left--
}

/* All see the stores of two threads in one order. */
proctype Reader(byte me, one, other)
{
	if
	:: test == reads_of_two ->
		load_acquire(me, one, a[me]);
		load_acquire(me, other, b[me])
	:: else
	fi;
	left--
}

init
{
	byte sum;

	if
	:: test = buffering
	:: test = passing
	:: test = address
	:: test = exchanging
	:: test = coherence_of_one
	:: test = reads_of_two
	:: test = counting
	fi;
	atomic {
		run First();
		run Second();
		run Reader(2, x, y);
		run Reader(3, y, x)
	}
	left == 0 && stored(0) && stored(1);
	fence_seq_cst(3);
	load_relaxed(3, x, sum);
	assert(!(test == buffering && !a[0] && !a[1]));
	assert(!(test == exchanging && !a[0] && !a[1]));
	assert(!((test == passing || test == address) && a[1] && !b[1]));
	assert(!(test == coherence_of_one && b[1] < a[1]));
	assert(!(test == reads_of_two && a[2] && !b[2] && a[3] && !b[3]));
	assert(!(test == counting && sum != 2))
}
