/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Growth of the page map. Two threads cover the same root entry, enter a page each and hand each other an object there;
 * or one hands out an object, and who gets it enters the page anew and hands it back; or a stranger looks up what
 * nobody gave it. Page 0 of a leaf is cleared by stores here, as if the kernel did not promise its zeros, so that it
 * matters who sees them.
 *
 * Shown: an object that was handed out is found (M0, M1), no look-up touches a leaf that is unmapped, and none reads
 * what was there before the leaf (M2, M3).
 *
 * fails: BROKEN_CAS      tso arm   two leaves for one entry
 * fails: BROKEN_EARLY    tso arm   the object is handed out before its page is entered
 * fails: BROKEN_KEPT     tso arm   a large block is entered over objects, and its bin left
 * fails: BROKEN_FIRST    tso arm   the leaf is installed before it is clear
 * fails: BROKEN_INSTALL  arm       the leaf is installed without release (M2)
 * fails: BROKEN_LOOKUP   arm       near__pagemap_span without acquire (M3)
 * fails: BROKEN_ADDRESS  arm       the fast path's load where no address depends (M3)
 * fails: BROKEN_HANDED   arm       the object is handed out without release
 */
#define THREADS 2
#define DEPTH	4
#define LOG	32

#define near__pagemap_root 0
#define entry		   near__pagemap_root
#define bin(leaf, page)	   (1 + 4 * (leaf) + 2 * (page))
#define span(leaf, page)   (2 + 4 * (leaf) + 2 * (page))
#define handed(page)	   (13 + (page)) /* stands for the magazine or block that carries the pointer */
#define WORDS		   15

#define GARBAGE 9

#include "memory.pml"

bool mapped[THREADS + 1] = true; /* by leaf; 0 is the zero leaf */
byte bin_of[2], span_of[2];

/* src/meta/pagemap.c */
inline leaf_of(me)
{
#if defined(BROKEN_LOOKUP)
	load_relaxed(me, near__pagemap_root, leaf)
#else
	load_acquire(me, near__pagemap_root, leaf) /* M3 */
#endif
}

inline map(me)
{
	store_plain(me, bin(me + 1, 0), 0);
	store_plain(me, span(me + 1, 0), 0)
}

/* src/meta/pagemap.c */
inline cover_one(me)
{
	none = 0;
	load_relaxed(me, entry, leaf);
	if
	:: leaf -> skip
	:: else ->
#if !defined(BROKEN_FIRST)
		map(me);
#endif
#if defined(BROKEN_CAS)
		store_release(me, entry, me + 1);
		done = true;
#elif defined(BROKEN_INSTALL)
		cas_acquire(me, entry, none, me + 1, done);
#else
		cas_acq_rel(me, entry, none, me + 1, done); /* M2 */
#endif
#if defined(BROKEN_FIRST)
		map(me);
#endif
		mapped[me + 1] = done
	fi
}

/* src/meta/pagemap.c */
inline near__pagemap_set(me, page, new_bin, new_span)
{
	leaf_of(me);
	store_relaxed(me, span(leaf, page), new_span); /* M0 */
	load_relaxed(me, bin(leaf, page), found);
#if defined(BROKEN_KEPT)
	found = 0;
#endif
	if
	:: new_bin || found -> store_relaxed(me, bin(leaf, page), new_bin) /* M0 */
	:: else
	fi
}

/* src/meta/pagemap.c */
inline near__pagemap_span(me, page)
{
	leaf_of(me);
	assert(mapped[leaf]);
	if
	:: leaf -> load_relaxed(me, span(leaf, page), found)
	:: else -> found = 0
	fi
}

/* src/meta/pagemap.h */
inline pagemap_slot(me, page)
{
#if defined(BROKEN_ADDRESS)
	load_relaxed(me, near__pagemap_root, leaf);
	assert(mapped[leaf]);
	load_relaxed(me, bin(leaf, page), found)
#else
	load_address(me, near__pagemap_root, leaf);
	assert(mapped[leaf]);
	load_at(me, bin(leaf, page), found) /* M3 */
#endif
}

inline enter(me, page, step)
{
	bin_of[page] = new;
	span_of[page] = step;
	near__pagemap_set(me, page, new, step)
}

/* A large block, with bin 0, or objects. */
inline hand_out(me, page, step)
{
	if
	:: new = 0
	:: new = step
	fi;
#if !defined(BROKEN_EARLY)
	enter(me, page, step);
#endif
#if defined(BROKEN_HANDED)
	store_relaxed(me, handed(page), step);
#else
	store_release(me, handed(page), step);
#endif
#if defined(BROKEN_EARLY)
	enter(me, page, step)
#endif
}

inline receive(me, page, step)
{
	do
	:: load_acquire(me, handed(page), found);
		if
		:: found == step -> break
		:: else
		fi
	od;
	pagemap_slot(me, page);
	assert(found == bin_of[page]);
	near__pagemap_span(me, page);
	assert(found == span_of[page])
}

#if defined(LONG)
#define AGAIN true
#else
#define AGAIN false
#endif

proctype Owner(byte me; bool again)
{
	byte leaf, none, found, new, mine = me, other = 1 - me;
	bool done;

	cover_one(me);
	hand_out(me, mine, 1);
	receive(me, other, 1);
	if
	:: again ->
		hand_out(me, other, 2);
		receive(me, mine, 2)
	:: else
	fi;
	leave(me)
}

/* Of page 0; and who is handed the object enters the page anew. */
proctype First(byte me)
{
	byte leaf, none, found, new, mine = 0;
	bool done;

	cover_one(me);
	hand_out(me, mine, 1);
	receive(me, mine, 2);
	leave(me)
}

proctype Next(byte me)
{
	byte leaf, found, new, mine = 0;

	receive(me, mine, 1);
	hand_out(me, mine, 2);
	leave(me)
}

proctype Stranger(byte me)
{
	byte leaf, found;

	pagemap_slot(me, 0);
	assert(found <= 2);
	near__pagemap_span(me, 0);
	assert(found <= 2);
	leave(me)
}

init
{
	byte leaf;

	atomic {
		for (leaf : 1 .. 2) {
			set(bin(leaf, 0), GARBAGE);
			set(span(leaf, 0), GARBAGE)
		}
		if
		:: run First(0); run Next(1)
		:: run Owner(0, false); run Stranger(1)
		:: run Owner(0, AGAIN); run Owner(1, AGAIN)
		fi
	}
}
