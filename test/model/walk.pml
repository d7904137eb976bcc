/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Walkers, and who unmaps a mapping that they may have found: free (no grace period is waited for), trim (one is, if
 * there is liburcu), and realloc, which lets the kernel move it. Walker 0 may trim from its visitor; the long form has
 * another.
 *
 * The grace period is liburcu's promise: sections that have begun when it begins have ended when it ends, and those
 * that begin later see what came before it.
 *
 * Shown: no walker touches what is unmapped (W0, W1), and nobody waits for itself.
 *
 * fails: BROKEN_ARRIVAL  arm       a walker comes without its fence (W0)
 * fails: BROKEN_HIDDEN   tso arm   who unmaps asks without a fence (W1)
 * fails: BROKEN_GRACE    tso arm   no grace period is waited for
 * fails: BROKEN_ASKING   tso arm   nobody asks for walkers
 * fails: BROKEN_HIDING   tso arm   the mapping is not hidden first
 * fails: BROKEN_OUTSIDE  tso arm   the state was read before the walk
 * fails: BROKEN_LEAVING  tso arm   the walker is off the list before it has ended
 * hangs: BROKEN_INSIDE   tso arm   who walks waits for a grace period
 */
#define THREADS 3
#define DEPTH	4
#define LOG	20

#define state	   0
#define start	   1
#define walkers(i) (2 + (i))
#define WORDS	   4
#define WALKERS_MOST 2

#define SPAN_UNUSED 0
#define SPAN_HELD   1
#define SPAN_MAPPED 2
#define SPAN_EXTENT 3

#include "memory.pml"

mtype = { FREE, TRIM, RESIZE }
mtype job;
bool mapped[3]; /* the place of the mapping, and the one that realloc moves it to */
bool reading[2], loaded, removed;
byte sections[2]; /* how many of a walker's have ended */

#define self(me) ((me) + 1)

/* ---- src/os/rcu.c, and what liburcu does -------------------------------------------------------------- */

inline near__rcu_read_lock(me)
{
	reading[me] = loaded
}

inline near__rcu_read_unlock(me)
{
	d_step {
		reading[me] = false;
		sections[me]++
	}
}

inline near__rcu_synchronize(me, done)
{
	done = loaded;
	if
	:: loaded ->
		atomic {
			stored(0) && stored(1) && stored(2) ->
			fence_seq_cst(me);
			fence_other(0);
			fence_other(1);
			waits[0] = (reading[0] -> sections[0] + 1 : 0);
			waits[1] = (reading[1] -> sections[1] + 1 : 0)
		}
		sections[0] >= waits[0] && sections[1] >= waits[1];
		atomic {
			stored(0) && stored(1) && stored(2) ->
			fence_seq_cst(me);
			fence_other(0);
			fence_other(1)
		}
	:: else
	fi
}

/* ---- src/os/walk.c ----------------------------------------------------------------------------------- */

/* src/os/walk.c */
inline replace(me, one, other, done)
{
	i = 0;
	done = false;
	do
	:: i == WALKERS_MOST -> i = 0; break
	:: else ->
		load_relaxed(me, walkers(i), seen);
		if
		:: seen == one -> cas_acq_rel(me, walkers(i), seen, other, done)
		:: else
		fi;
		if
		:: done -> i = 0; break
		:: else -> i++
		fi
	od;
	seen = 0
}

/* src/os/walk.c */
inline near__walk_begin(me)
{
	do
	:: replace(me, 0, self(me), done);
		if
		:: done -> break
		:: else
		fi
	od;
#if !defined(BROKEN_ARRIVAL)
	fence_seq_cst(me); /* W0 */
#endif
	near__rcu_read_lock(me)
}

inline near__walk_end(me)
{
	near__rcu_read_unlock(me);
	replace(me, self(me), 0, done)
}

/* src/os/walk.c */
inline near__walk_none(me, none)
{
#if !defined(BROKEN_HIDDEN)
	fence_seq_cst(me); /* W1 */
#endif
	i = 0;
	none = true;
	do
	:: i == WALKERS_MOST -> i = 0; break
	:: else ->
		load_acquire(me, walkers(i), seen);
		none = none && !seen;
		i++
	od;
	seen = 0;
#if defined(BROKEN_ASKING)
	none = true
#endif
}

/* src/os/walk.c */
inline near__walk_inside(me, inside)
{
	i = 0;
	inside = false;
	do
	:: i == WALKERS_MOST -> i = 0; break
	:: else ->
		load_relaxed(me, walkers(i), seen);
		inside = inside || seen == self(me);
		i++
	od;
	seen = 0;
#if defined(BROKEN_INSIDE)
	inside = false
#endif
}

inline near__walk_left(me, gone)
{
	near__walk_none(me, gone);
#if defined(BROKEN_GRACE)
	gone = true
#else
	if
	:: !gone ->
		near__walk_inside(me, done);
		if
		:: !done -> near__rcu_synchronize(me, gone)
		:: else
		fi
	:: else
	fi
#endif
}

/* ---- who unmaps; one of them at a time, as the list's lock has it ---------------------------------------- */

#if defined(BROKEN_HIDING)
#define hide(me) skip
#else
#define hide(me) store_release(me, state, SPAN_HELD)
#endif

/* Of a block, whose free a CAS decides; where there are walkers it is kept. */
inline near__large_free(me)
{
	seen = SPAN_MAPPED;
#if !defined(BROKEN_HIDING)
	cas_acq_rel(me, state, seen, SPAN_HELD, done);
#endif
	near__walk_none(me, gone);
	if
	:: gone ->
		mapped[1] = false;
		store_release(me, state, SPAN_UNUSED)
	:: else -> store_release(me, state, SPAN_EXTENT)
	fi
}

inline near__extent_trim(me)
{
	hide(me);
	near__walk_left(me, gone);
	if
	:: gone ->
		mapped[1] = false;
		store_release(me, state, SPAN_UNUSED)
	:: else -> store_release(me, state, SPAN_EXTENT)
	fi
}

/* src/heap/large.c */
inline near__large_resize(me)
{
#if defined(BROKEN_HIDING)
	skip;
#else
	store_release(me, state, SPAN_HELD);
#endif
	near__walk_none(me, gone);
	if
	:: gone ->
		mapped[2] = true;
		mapped[1] = false;
		store_plain(me, start, 2)
	:: else
	fi;
	store_release(me, state, SPAN_MAPPED)
}

inline remove_once(me, how)
{
	if
	:: atomic { !removed -> removed = true };
		if
		:: how == FREE -> near__large_free(me)
		:: how == TRIM -> near__extent_trim(me)
		:: how == RESIZE -> near__large_resize(me)
		fi
	:: removed
	fi
}

proctype Remover(byte me)
{
	byte seen, i, waits[2];
	bool gone, done;

	remove_once(me, job);
	leave(me)
}

proctype Walker(byte me; bool trims)
{
	byte seen, i, waits[2], found, there;
	bool gone, done;

#if defined(BROKEN_OUTSIDE)
	load_acquire(me, state, found);
	near__walk_begin(me);
#else
	near__walk_begin(me);
	load_acquire(me, state, found);
#endif
	if
	:: found == SPAN_MAPPED || found == SPAN_EXTENT ->
		load_plain(me, start, there);
#if defined(BROKEN_LEAVING)
		replace(me, self(me), 0, done);
#endif
		assert(mapped[there]);
		if
		:: trims -> remove_once(me, TRIM)
		:: !trims ->
			skip;
			assert(mapped[there])
		fi
	:: else
	fi;
	near__walk_end(me);
	leave(me)
}

init
{
	atomic {
		set(state, SPAN_MAPPED);
		set(start, 1);
		mapped[1] = true;
		if
		:: loaded = true
		:: skip
		fi;
		if
		:: job = FREE
		:: job = TRIM
		:: job = RESIZE
		fi;
		if
		:: run Walker(0, true)
		:: run Walker(0, false)
		fi;
#if defined(LONG)
		run Walker(1, false);
#else
		leave(1);
#endif
		run Remover(2)
	}
}
