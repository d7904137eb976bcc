/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * The stacks of the depots and pools: threads pop records and push them again in any order. `next` and `cursor` are
 * members of a record's slot; whoever holds the record writes them.
 *
 * Shown: nobody pops a record that is held; what its last holder wrote is seen (P0, P1); at the end each record is held
 * or on the stack, once. A tag of n bits is deceived when 2^n changes fall into one pop, and not by fewer.
 *
 * fails: BROKEN_TAG      tso arm   no tag
 * fails: BROKEN_NARROW   tso arm   a tag of two bits, and four changes
 * fails: BROKEN_RELEASE  arm       push without release (P0)
 * fails: BROKEN_ACQUIRE  arm       pop without acquire (P1)
 * fails: BROKEN_RETRY    arm       pop that tries again without acquire (P1)
 * passes: SPARE_POP      tso arm   the CAS of pop relaxed: the load before it has acquired, and an RMW hands P0 on
 */
#if defined(LONG)
#define FIRST_OPS 2
#else
#define FIRST_OPS 1
#endif
#define SECOND_OPS 4
#define RECORDS	   3
#define THREADS	   2
#define DEPTH	   4
#define LOG	   24
#define WORDS	   (1 + 2 * RECORDS)

#define head	  0
#define next(i)	  (i)
#define cursor(i) (RECORDS + (i))

/* A head: the tag above, the index in two bits. */
#if defined(BROKEN_TAG)
#define TAGS 1
#elif defined(BROKEN_NARROW)
#define TAGS 4
#else
#define TAGS 16
#endif
#define index_of(word)	    ((word) & 3)
#define head_of(old, index) ((((old) / 4 + 1) % TAGS) * 4 + (index))

#include "memory.pml"

byte left = THREADS;
bool held[RECORDS + 1];
byte written[RECORDS + 1];

/* src/meta/pool.c */
inline back_off(me)
{
#if defined(BROKEN_RETRY)
	load_relaxed(me, head, seen)
#else
	load_acquire(me, head, seen) /* P1 */
#endif
}

/* src/meta/pool.c */
inline near__stack_push(me, index)
{
	load_relaxed(me, head, seen);
	do
	::	store_relaxed(me, next(index), index_of(seen));
		atomic {
#if defined(BROKEN_RELEASE)
			cas_acquire(me, head, seen, head_of(seen, index), done);
#else
			cas_acq_rel(me, head, seen, head_of(seen, index), done); /* P0 */
#endif
			held[index] = held[index] && !done
		}
		if
		:: done -> break
		:: else
		fi;
		back_off(me)
	od
}

/* src/meta/pool.c */
inline near__stack_pop(me, index)
{
#if defined(BROKEN_ACQUIRE)
	load_relaxed(me, head, seen);
#else
	load_acquire(me, head, seen); /* P1 */
#endif
	index = 0;
	do
	:: index_of(seen) == 0 -> break
	:: else ->
		load_relaxed(me, next(index_of(seen)), below);
		atomic {
#if defined(SPARE_POP)
			cas_relaxed(me, head, seen, head_of(seen, below), done);
#else
			cas_acq_rel(me, head, seen, head_of(seen, below), done); /* P1 */
#endif
			if
			:: done ->
				index = index_of(seen);
				assert(!held[index]);
				held[index] = true;
				break
			:: else
			fi
		}
		back_off(me)
	od
}

inline give(me, index)
{
	d_step {
		mine[index] = false;
		written[index] = (written[index] + 1) % 4
	}
	store_relaxed(me, cursor(index), written[index]);
	near__stack_push(me, index)
}

inline take(me)
{
	near__stack_pop(me, i);
	if
	:: i ->
		load_relaxed(me, cursor(i), below);
		assert(below == written[i]);
		mine[i] = true
	:: else
	fi
}

proctype Thread(byte me, ops)
{
	bool mine[RECORDS + 1], done;
	byte seen, below, i;

	do
	:: ops == 0 -> break
	:: ops > 0 ->
		ops--;
		seen = 0;
		below = 0;
		i = 0;
		done = false;
		if
		:: take(me)
		:: mine[1] -> give(me, 1)
		:: mine[2] -> give(me, 2)
		:: mine[3] -> give(me, 3)
		fi
	od;
	leave(me);
	left--
}

init
{
	byte i, found;

	atomic {
		for (i : 1 .. RECORDS) {
			set(next(i), i - 1)
		}
		set(head, RECORDS);
		run Thread(0, FIRST_OPS);
		run Thread(1, SECOND_OPS)
	}
	left == 0 && stored(0) && stored(1);
	come(0);
	load_relaxed(0, head, i);
	i = index_of(i);
	do
	:: i ->
		assert(!held[i]);
		held[i] = true;
		found++;
		load_relaxed(0, next(i), i)
	:: else -> break
	od;
	assert(held[1] && held[2] && held[3])
}
