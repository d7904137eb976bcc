/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Draining the table of CPU 0, against the sections of the threads that run there, and the making of it. It has one
 * bin, for magazines with room for two objects.
 *
 * Threads 0 and 1 are switched on and off CPU 0, one at a time; and in the long form CPU 1, which has no table. Who is
 * switched off, or hit by the fence, inside a section starts it again. Thread 2 runs elsewhere.
 *
 * Shown: each object is in one place, so none is handed out twice, and none gets lost (D0 to D1, B0 to B1).
 *
 * fails: BROKEN_FENCE    tso arm   the table is emptied without the fence (D0)
 * fails: BROKEN_REFUSED  tso arm   or although the kernel refused it
 * fails: BROKEN_STUB     tso arm   only one of the base arrays gets the stub
 * fails: BROKEN_EARLY    tso arm   the table is given back before it is empty
 * fails: BROKEN_PUBLISH  arm       the table is given back without release (B0)
 * fails: BROKEN_ADDRESS  arm       a section reads the table where no address depends (B1)
 * fails: BROKEN_ABORT    tso arm   a section goes on after a switch
 * fails: BROKEN_EXCHANGE tso arm   the section that exchanges does not test for the stub
 * fails: BROKEN_DRAINER  tso arm   a drainer does not ask for the lock
 * fails: BROKEN_MAKER    tso arm   who makes the table does not ask for the lock
 */
#if defined(LONG)
#define CPUS	 2
#define SWITCHES 1 /* so often each thread is switched off; the first once in any case */
#else
#define CPUS	 1
#define SWITCHES 0
#endif
#define THREADS 3
#define WORKERS 2
#define DEPTH	4
#define LOG	32

#define CPU_BASE      0
#define LOCAL_BASE    1
#define near__table   2
#define near__drain_lock 3
#define cursor(table) (4 + (table))
#define spare(table)  (7 + (table))
#define NIL_CURSOR    10	     /* the word that it names */
#define bottom(m)     (11 + 3 * (m)) /* of a magazine: the zero below its two slots */
#define WORDS	      17

#define STUB	   0 /* of tables; a second one is made only by mistake */
#define SPARE_NONE 0
#define SPARE_STUB 1
#define NOWHERE	   255
#define GONE	   254
#define OBJECTS	   3

#include "memory.pml"

#if defined(BROKEN_ADDRESS)
#define load_base load_relaxed
#define load_in	  load_relaxed
#else
#define load_base load_address /* D1, B1 */
#define load_in	  load_at
#endif

mtype = { CACHED, IN_HANDS, IN_SPAN }
mtype = { USE, REFILL, DRAIN }
mtype where[OBJECTS + 1];
byte left = THREADS, made;
byte on[WORKERS] = NOWHERE; /* the CPU that a thread runs on */
bool inside[WORKERS], aborted[WORKERS];

/* ---- the kernel ------------------------------------------------------------------------------------ */

inline abort(t)
{
#if !defined(BROKEN_ABORT)
	aborted[t] = inside[t]
#else
	skip
#endif
}

#define may_come(t, cpu) (on[t] == NOWHERE && on[1 - (t)] != (cpu) && stored(t))

proctype Scheduler(byte t, switches)
{
end:
	do
	:: atomic { on[t] < CPUS && switches && stored(t) -> switches--; on[t] = NOWHERE; abort(t); leave(t) }
	:: atomic { may_come(t, 0) -> on[t] = 0; come(t) }
#if CPUS > 1
	:: atomic { may_come(t, 1) -> on[t] = 1; come(t) }
#endif
	:: on[t] == GONE -> break
	od
}

/* Of CPU 0; not refused. */
inline near__membarrier_fence(me)
{
#if defined(BROKEN_FENCE)
	skip
#else
	atomic {
		stored(me) && (on[0] != 0 || stored(0)) && (on[1] != 0 || stored(1)) ->
		fence_seq_cst(me);
		if
		:: on[0] == 0 -> fence_other(0); abort(0)
		:: on[1] == 0 -> fence_other(1); abort(1)
		:: else
		fi
	}
#endif
}

/* ---- the sections of src/arch ------------------------------------------------------------------------ */

inline begin(me, base)
{
	atomic {
		on[me] < CPUS ->
		inside[me] = true;
		if
		:: on[me] == 0 -> load_base(me, base, table)
		:: else -> table = STUB
		fi
	};
	atomic {
		load_in(me, cursor(table), at);
		assert(at)
	}
}

#define restarted(me) atomic { aborted[me] -> aborted[me] = false; inside[me] = false }

inline section_pop(me)
{
	do
	::	{
			begin(me, LOCAL_BASE);
			load_in(me, at, object);
			atomic {
				present(me) ->
				if
				:: object ->
					store_relaxed(me, cursor(table), at - 1); /* commit */
					assert(where[object] == CACHED);
					where[object] = IN_HANDS
				:: else
				fi;
				inside[me] = false
			};
			break
		} unless { restarted(me) }
	od
}

#define is_full(at) ((at) == NIL_CURSOR || (at) == bottom(0) + 2 || (at) == bottom(1) + 2)

inline section_push(me)
{
	do
	::	{
			begin(me, CPU_BASE);
			if
			:: atomic { is_full(at) -> inside[me] = false }
			:: atomic { !is_full(at) -> store_relaxed(me, at + 1, mine) };
				atomic {
					store_relaxed(me, cursor(table), at + 1); /* commit */
					assert(where[mine] == IN_HANDS);
					where[mine] = CACHED;
					mine = 0;
					inside[me] = false
				}
			fi;
			break
		} unless { restarted(me) }
	od
}

/* Loads the magazine in hand if the bin is empty. */
inline section_exchange_empty(me)
{
	do
	::	{
			begin(me, CPU_BASE);
			load_in(me, at, object);
			load_in(me, spare(table), seen);
#if defined(BROKEN_EXCHANGE)
			seen = SPARE_NONE;
#endif
			atomic {
				present(me) ->
				if
				:: seen != SPARE_STUB && !object ->
					store_relaxed(me, cursor(table), bottom(1) + 1); /* commit */
					where[2] = CACHED
				:: else
				fi;
				inside[me] = false
			};
			break
		} unless { restarted(me) }
	od
}

/* ---- tables ---------------------------------------------------------------------------------------- */

inline lock_try(me)
{
	atomic {
		seen = 0;
		cas_acquire(me, near__drain_lock, seen, 1, got)
	}
}

inline lock_release(me)
{
	exchange_release(me, near__drain_lock, 0, seen)
}

/* src/cache/bins.c */
inline near__table_publish(me, table)
{
#if defined(BROKEN_PUBLISH)
	store_relaxed(me, LOCAL_BASE, table);
	store_relaxed(me, CPU_BASE, table)
#else
	store_release(me, LOCAL_BASE, table); /* B0 */
	store_release(me, CPU_BASE, table) /* B0 */
#endif
}

inline make_table(me)
{
	atomic {
		made++;
		table = made;
		store_relaxed(me, cursor(table), NIL_CURSOR)
	}
	store_relaxed(me, spare(table), SPARE_NONE)
}

/* src/cache/bins.c */
inline first_table(me)
{
#if defined(BROKEN_MAKER)
	got = true;
#else
	lock_try(me);
#endif
	if
	:: got ->
		load_acquire(me, near__table, table);
		if
		:: !table ->
			make_table(me);
			store_release(me, near__table, table);
			near__table_publish(me, table)
		:: else
		fi;
		lock_release(me)
	:: else
	fi
}

/* src/cache/bins.c */
inline near__cache_table(me)
{
	load_acquire(me, near__table, table);
	if
	:: !table -> first_table(me)
	:: else
	fi
}

/* src/cache/drain.c */
inline take_magazines(me)
{
	load_plain(me, cursor(table), at);
	store_relaxed(me, cursor(table), NIL_CURSOR);
	store_relaxed(me, spare(table), SPARE_NONE)
}

/* Its objects go into the spans. */
inline empty_table(me)
{
	take_magazines(me);
	do
	::	atomic {
			load_relaxed(me, at, object);
			if
			:: object ->
				assert(where[object] == CACHED);
				where[object] = IN_SPAN;
				at--
			:: else -> break
			fi
		}
	od
}

/* src/cache/drain.c */
inline with_table(me)
{
	store_release(me, CPU_BASE, STUB); /* D0 */
#if !defined(BROKEN_STUB)
	store_release(me, LOCAL_BASE, STUB); /* D0 */
#endif
#if defined(BROKEN_EARLY)
	near__table_publish(me, table);
#endif
	if
	::	near__membarrier_fence(me);
		empty_table(me)
#if defined(BROKEN_REFUSED)
	::	empty_table(me)
#else
	::	skip
#endif
	fi;
#if !defined(BROKEN_EARLY)
	near__table_publish(me, table)
#endif
}

/* src/cache/drain.c */
inline near__drain_all(me)
{
#if defined(BROKEN_DRAINER)
	got = true;
#else
	lock_try(me);
#endif
	if
	:: got ->
		load_acquire(me, near__table, table);
		if
		:: table -> with_table(me)
		:: else
		fi;
		lock_release(me)
	:: else
	fi
}

/* ---- threads --------------------------------------------------------------------------------------- */

proctype Worker(byte me; mtype job; byte mine)
{
	byte table, at, object, seen;
	bool got;

	if
	:: job == USE -> section_pop(me)
	:: job == USE && mine -> section_push(me)
	:: job == DRAIN -> near__drain_all(me)
	:: job == REFILL ->
		near__cache_table(me);
		section_exchange_empty(me)
	fi;
	atomic { stored(me) -> on[me] = GONE; leave(me); left-- }
}

/* Elsewhere; who makes a table was on CPU 0 a moment ago. */
proctype Other(byte me; mtype job)
{
	byte table, at, object, seen;
	bool got;

	come(me);
	if
	:: job == DRAIN -> near__drain_all(me)
	:: job == REFILL -> near__cache_table(me)
	fi;
	atomic { leave(me); left-- }
}

inline account(table)
{
	load_relaxed(0, cursor(table), at);
	do
	::	load_relaxed(0, at, object);
		if
		:: object ->
			assert(where[object] == CACHED);
			where[object] = IN_SPAN;
			at--
		:: else -> break
		fi
	od
}

inline start()
{
	made = 1;
	set(near__table, made);
	set(CPU_BASE, made);
	set(LOCAL_BASE, made);
	set(cursor(made), bottom(0) + 1);
	set(bottom(0) + 1, 1);
	where[1] = CACHED
}

init
{
	byte at, object;

	atomic {
		set(cursor(STUB), NIL_CURSOR);
		set(spare(STUB), SPARE_STUB);
		set(bottom(1) + 1, 2);
		where[1] = IN_SPAN;
		where[2] = IN_HANDS;
		where[3] = IN_HANDS;
		if
		:: run Worker(1, REFILL, 0); run Other(2, REFILL)
		:: run Worker(1, REFILL, 0); run Other(2, DRAIN)
		:: start(); run Worker(1, DRAIN, 0); run Other(2, DRAIN)
#if defined(LONG)
		:: start(); run Worker(1, REFILL, 0); run Other(2, DRAIN)
#endif
		:: start(); run Worker(1, USE, 0); run Other(2, DRAIN)
		fi;
		run Worker(0, USE, 3);
		run Scheduler(0, 1);
		run Scheduler(1, SWITCHES);
		on[0] = 0;
		leave(1);
		leave(2)
	}
	left == 0 && stored(0) && stored(1) && stored(2);
	come(0);
	load_relaxed(0, CPU_BASE, at);
	account(at);
	assert(where[1] != CACHED && where[2] != CACHED && where[3] != CACHED)
}
