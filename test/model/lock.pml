/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * The lock and its futex: 0 free, else taken, and 2 besides when somebody sleeps on it.
 *
 * Shown: one at a time is inside and sees what the last one wrote (L0, L1), and nobody sleeps for ever.
 *
 * fails: BROKEN_TAKEN    arm       the first CAS without acquire (L1)
 * fails: BROKEN_SPUN     arm       the one in the spinning loop
 * fails: BROKEN_WOKEN    arm       the one of who was woken
 * fails: BROKEN_RELEASED arm       the lock is released without release (L0)
 * hangs: BROKEN_SLEEPERS tso arm   who was woken takes the lock as if nobody slept behind it
 * hangs: BROKEN_WAKE     tso arm   who releases the lock wakes nobody
 * hangs: BROKEN_FUTEX    tso arm   sleeps whatever the word has become
 */
#if defined(LONG)
#define ROUNDS 2
#else
#define ROUNDS 1
#endif
#define THREADS 3
#define DEPTH	2
#define LOG	24

#define word  0
#define data  1
#define WORDS 2

#define SELF	      1
#define LOCK_SLEEPERS 2
#define SPINS	      1

#include "memory.pml"

byte inside, entered;
bool asleep[THREADS];

/* ---- the kernel ------------------------------------------------------------------------------------ */

inline futex_wait(me, expected)
{
	atomic {
		fence_seq_cst(me);
		load_relaxed(me, word, now_is);
		asleep[me] = now_is == expected;
#if defined(BROKEN_FUTEX)
		asleep[me] = true;
#endif
		now_is = 0
	}
	!asleep[me];
	fence_seq_cst(me)
}

inline near__lock_wake(me)
{
	atomic {
		fence_seq_cst(me);
		if
		:: asleep[0] -> asleep[0] = false
		:: asleep[1] -> asleep[1] = false
		:: asleep[2] -> asleep[2] = false
		:: else
		fi
	}
}

/* ---- the lock -------------------------------------------------------------------------------------- */

/* src/os/futex.c */
inline spin(me)
{
	spins = SPINS;
	do
	:: spins == 0 || taken -> spins = 0; break
	:: else ->
		spins--;
		free = 0;
		load_relaxed(me, word, seen);
		if
		:: !seen ->
#if defined(BROKEN_SPUN)
			cas_relaxed(me, word, free, SELF, taken)
#else
			cas_acquire(me, word, free, SELF, taken) /* L1 */
#endif
		:: else
		fi
	od
}

/* src/os/futex.c */
inline near__lock_wait(me)
{
	spin(me);
	do
	:: taken -> break
	:: else ->
		load_relaxed(me, word, seen);
		omitted(load_relaxed(near__fork_mark))
		if
		:: !seen ->
#if defined(BROKEN_WOKEN)
			cas_relaxed(me, word, seen, SELF | LOCK_SLEEPERS, taken)
#elif defined(BROKEN_SLEEPERS)
			cas_acquire(me, word, seen, SELF, taken)
#else
			cas_acquire(me, word, seen, SELF | LOCK_SLEEPERS, taken) /* L1 */
#endif
		:: else ->
			marked = true;
			free = seen;
			if
			:: !(seen & LOCK_SLEEPERS) -> cas_relaxed(me, word, free, seen | LOCK_SLEEPERS, marked)
			:: else
			fi;
			if
			:: marked -> futex_wait(me, (seen | LOCK_SLEEPERS))
			:: else
			fi
		fi
	od
}

/* src/base/lock.h */
inline lock_acquire(me)
{
	omitted(load_relaxed(near__fork_mark))
	free = 0;
#if defined(BROKEN_TAKEN)
	cas_relaxed(me, word, free, SELF, taken);
#else
	cas_acquire(me, word, free, SELF, taken); /* L1 */
#endif
	if
	:: !taken -> near__lock_wait(me)
	:: else
	fi
}

/* src/base/lock.h */
inline lock_release(me)
{
#if defined(BROKEN_RELEASED)
	exchange_relaxed(me, word, 0, seen);
#else
	exchange_release(me, word, 0, seen); /* L0 */
#endif
#if !defined(BROKEN_WAKE)
	if
	:: seen & LOCK_SLEEPERS -> near__lock_wake(me)
	:: else
	fi
#endif
}

proctype Thread(byte me)
{
	byte free, seen, now_is, spins, rounds = ROUNDS;
	bool taken, marked;

	do
	:: rounds == 0 -> break
	:: else ->
		lock_acquire(me);
		inside++;
		assert(inside == 1);
		load_plain(me, data, seen);
		assert(seen == entered);
		entered++;
		store_plain(me, data, seen + 1);
		inside--;
		lock_release(me);
		d_step {
			rounds--;
			taken = false;
			marked = false;
			seen = 0;
			free = 0
		}
	od;
	leave(me)
}

init
{
	atomic {
		run Thread(0);
		run Thread(1);
		run Thread(2)
	}
}
