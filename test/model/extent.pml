/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * The neighbour of a mapping that is to be kept, found by the page map. Its record is anybody's: thread 1 takes it,
 * frees it, keeps it, or drops it and uses the record for another node. Thread 0 asks under the lock of node 0's list.
 *
 * Shown: what is found is on that list, so it stands still.
 *
 * fails: BROKEN_TWICE  tso arm   state and node are loaded one after the other, and the state again
 * fails: BROKEN_STATE  tso arm   the state alone tells
 * fails: BROKEN_LOCK   tso arm   nobody holds the lock
 */
#define THREADS 2
#define DEPTH	4
#define LOG	48
#if defined(LONG)
#define STEPS 12
#else
#define STEPS 7
#endif

#define state 0
#define node  1
#define head  2 /* of the pool */
#define lock  3 /* of node 0's list; that of the other is nobody else's here */
#define WORDS 4

#define SPAN_UNUSED 0
#define SPAN_HELD   1
#define SPAN_MAPPED 2
#define SPAN_EXTENT 3

#include "memory.pml"

byte list = 1; /* that the record is on; 2: none */

inline lock_acquire(me)
{
	do
	::	atomic {
			free = 0;
			cas_acquire(me, lock, free, 1, done)
		}
		if
		:: done -> break
		:: else
		fi
	od
}

inline lock_release(me)
{
	exchange_release(me, lock, 0, free)
}

/* src/heap/extent.c */
inline neighbour(me)
{
	is = 0;
	at = 0;
#if defined(BROKEN_TWICE)
	load_acquire(me, state, is);
	if
	:: is == SPAN_EXTENT ->
		load_acquire(me, node, at);
		load_relaxed(me, state, is)
	:: else
	fi
#elif defined(BROKEN_STATE)
	load_acquire(me, state, is)
#else
	load_acquire_halves(me, state, node, is, at) /* of `whose` */
#endif
}

proctype Keeper(byte me)
{
	byte is, at, free;
	bool done;

#if !defined(BROKEN_LOCK)
	lock_acquire(me);
#endif
	neighbour(me);
	assert(!(is == SPAN_EXTENT && at == 0) || list == 0);
	leave(me)
}

inline enter(me, on)
{
	if
	:: on == 0 -> lock_acquire(me)
	:: else
	fi
}

inline done_with(me, on)
{
	if
	:: on == 0 -> lock_release(me)
	:: else
	fi
}

proctype Life(byte me)
{
	byte is = SPAN_EXTENT, at = 1, free, steps = STEPS;
	bool done;

end:	do
	:: steps == 0 -> break
	:: steps && is == SPAN_EXTENT -> /* near__extent_take */
		steps--;
		enter(me, at);
		list = 2;
		is = SPAN_MAPPED;
		store_release(me, state, is);
		done_with(me, at)
	:: steps && is == SPAN_MAPPED -> /* near__large_free */
		steps--;
		free = SPAN_MAPPED;
		cas_acq_rel(me, state, free, SPAN_HELD, done);
		is = SPAN_HELD
	:: steps && is == SPAN_HELD -> /* keep_mapping */
		steps--;
		enter(me, at);
		is = SPAN_EXTENT;
		store_release(me, state, is);
		list = at;
		done_with(me, at)
	:: steps && is == SPAN_HELD -> /* drop_mapping, and near__large_alloc */
		steps--;
		store_release(me, state, SPAN_UNUSED);
		free = 0;
		cas_acq_rel(me, head, free, 1, done); /* P0 */
		free = 1;
		cas_acq_rel(me, head, free, 0, done); /* P1 */
		if
		:: at = 0
		:: at = 1
		fi;
		store_plain(me, node, at);
		store_plain(me, state, SPAN_UNUSED);
		is = SPAN_MAPPED;
		store_release(me, state, is)
	od;
	leave(me)
}

init
{
	atomic {
		set(state, SPAN_EXTENT);
		set(node, 1);
		run Keeper(0);
		run Life(1)
	}
}
