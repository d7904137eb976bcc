/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Growth of a pool: two threads take fresh records, from segments of two; or one, and a visitor looks at what there is;
 * in the long form all three. `records` stands for the header of a segment.
 *
 * Shown: no record is given out twice, a header is seen as it was written (S0 to S1, S2 to S3), and no record that the
 * visitor was given lies beyond near__pool_end.
 *
 * fails: BROKEN_COUNT    tso arm   records are counted without an atomic addition
 * fails: BROKEN_NUMBER   tso arm   so are segments
 * fails: BROKEN_FIRST    tso arm   a segment is entered before its header is written
 * fails: BROKEN_ENTERED  arm       it is entered without release (S0)
 * fails: BROKEN_VISIT    arm       and looked up without acquire (S1)
 * fails: BROKEN_CURRENT  arm       it becomes current without release (S2), and was entered without
 * fails: BROKEN_TAKING   arm       who takes from it does not acquire (S3)
 */
#if defined(LONG)
#define TAKES 2
#else
#define TAKES 1
#endif
#define THREADS	 3
#define DEPTH	 4
#define LOG	 32
#define SEGMENTS 3

#define current	   0
#define segments   1
#define handed	   2 /* stands for where the visitor has a record from */
#define at(s)	   (3 + (s)) /* segments are numbered from 1 */
#define used(s)	   (3 + SEGMENTS + (s))
#define records(s) (3 + 2 * SEGMENTS + (s))
#define WORDS	   (4 + 3 * SEGMENTS)

#define RECORDS 2
#define index_of(segment, position) ((segment) * RECORDS + (position))

#include "memory.pml"

bool given[(SEGMENTS + 1) * RECORDS], numbered[SEGMENTS + 1];

/* src/meta/pool.c */
inline segment_make(me)
{
	load_relaxed(me, segments, made);
#if defined(BROKEN_NUMBER)
	store_relaxed(me, segments, made + 1);
#else
	fetch_add_relaxed(me, segments, 1, made);
#endif
	made++;
	assert(made <= SEGMENTS && !numbered[made]);
	numbered[made] = true;
	omitted(fetch_sub_relaxed(segments))
#if !defined(BROKEN_FIRST)
	store_plain(me, records(made), RECORDS);
#endif
#if defined(BROKEN_ENTERED) || defined(BROKEN_CURRENT)
	store_relaxed(me, at(made), made);
#else
	store_release(me, at(made), made); /* S0 */
#endif
#if defined(BROKEN_FIRST)
	store_plain(me, records(made), RECORDS);
#endif
	skip
}

/* src/meta/pool.c */
inline take_from(me, s)
{
	index = 0;
	load_relaxed(me, used(s), taken);
	load_plain(me, records(s), many);
	assert(many == RECORDS);
	if
	:: taken < many ->
#if defined(BROKEN_COUNT)
		store_relaxed(me, used(s), taken + 1);
#else
		fetch_add_relaxed(me, used(s), 1, taken);
#endif
		if
		:: taken < many ->
			index = index_of(s, taken);
			assert(!given[index]);
			given[index] = true
		:: else
		fi
	:: else
	fi
}

/* src/meta/pool.c */
inline near__pool_take_fresh(me)
{
	do
	::
#if defined(BROKEN_TAKING)
		load_relaxed(me, current, s);
#else
		load_acquire(me, current, s); /* S3 */
#endif
		index = 0;
		if
		:: s -> take_from(me, s)
		:: else
		fi;
		if
		:: index -> break
		:: else
		fi;
		segment_make(me);
#if defined(BROKEN_CURRENT)
		cas_acquire(me, current, s, made, done);
#else
		cas_acq_rel(me, current, s, made, done); /* S2 */
#endif
		if
		:: done
		:: else -> /* the records go to the free ones */
			do
			:: take_from(me, made);
				if
				:: !index -> break
				:: else
				fi
			od
		fi
	od
}

/* src/meta/pool.c */
inline near__pool_end(me, end)
{
	load_relaxed(me, segments, last);
	assert(last <= SEGMENTS);
#if defined(BROKEN_VISIT)
	load_relaxed(me, at(last), s);
#else
	load_acquire(me, at(last), s); /* S1 */
#endif
	end = index_of(last, 0);
	if
	:: s ->
		load_relaxed(me, used(s), taken);
		load_plain(me, records(s), many);
		assert(many == RECORDS);
		end = end + (taken < many -> taken : many)
	:: else
	fi
}

proctype Taker(byte me)
{
	byte s, made, index, taken, many, takes = TAKES;
	bool done;

	do
	:: takes == 0 -> break
	:: else ->
		takes--;
		near__pool_take_fresh(me)
	od;
	if
	:: me == 0 -> store_release(me, handed, index)
	:: else
	fi;
	leave(me)
}

proctype Visitor(byte me)
{
	byte s, last, taken, many, end, record;

	load_acquire(me, handed, record);
	near__pool_end(me, end);
	assert(record < end || !record);
	leave(me)
}

init
{
	atomic {
		run Taker(0);
#if defined(LONG)
		run Taker(1);
		run Visitor(2)
#else
		if
		:: run Visitor(2); leave(1)
		:: run Taker(1); leave(2)
		fi
#endif
	}
}
