/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * The data model of the caches: magazines, depots, and the table of bins of each CPU.
 *
 * A magazine is in exactly one place: loaded or spare in one bin, on one stack, or in one thread's hands. The bins
 * are touched only by the sections of arch/ (or their locked form), or by whoever drains the CPU (drain.c). See
 * doc/concurrency.md for the proof sketch and doc/design.md for the pictures.
 *
 * Outgoing bins, those of another node than the CPU's, take frees only, have no spare, and go home when full.
 */
#ifndef NEAR_CACHE_CACHE_H
#define NEAR_CACHE_CACHE_H

#include "arch/generic/locked.h"
#include "heap/heap.h"
#include "near/malloc.h"

/* Counters of a CPU, lossy; see near_stats. */
struct cpu_counts {
	uint64_t refills, refills_depot, refills_remote, refilled_objects;
	uint64_t flushes, flushes_remote;
	uint64_t slow_malloc, slow_free;
};

/* What slow calls of malloc asked for, by class; lossy. */
struct asked {
	uint64_t calls, bytes;
};

/* What was freed on a CPU of one node's memory, by the magazine, when it leaves the CPU. */
struct freed {
	uint64_t objects, bytes;
};

/*
 * One per CPU, made at its first slow path and never freed. `charged` is the sum of capacity times object size
 * over the magazines attached to its bins. `want` is the capacity that the next magazine of a bin should have.
 */
struct cpu_table {
	struct lock lock; /* locked mode only */
	uint16_t node;
	uint16_t cpu;
	uint32_t ticks;	  /* of keep/keep.h; lossy */
	uint8_t admitted; /* counts as one of max_caches */
	uint8_t *want;
	struct freed *freed; /* by node; lossy */
	struct asked *asked; /* by class */
	uint32_t *seen;	     /* by bin: what the last look saw, and for how many looks; owned by the drain lock */
	int64_t charged ALIGNED(CACHE_LINE); /* may be below zero for a moment */
	struct cpu_counts counts;
	struct bin bins[] ALIGNED(CACHE_LINE);
};

enum { LOOKS = 8 }; /* looks at what lies idle until something has not been used for cache_ttl */

/*
 * Magazines in a stack, and how many of them nobody needed: the least that there were between two looks (Bonwick's
 * working set). Counts may be off by as many as there are threads inside; `window` is the purge lock's.
 */
struct shelf {
	struct stack stack;
	uint32_t held, least;
	uint32_t low;		/* the least since near__depot_shed */
	uint32_t filler;	/* the thread that last filled a magazine of the class from the spans; lossy */
	uint32_t window[LOOKS]; /* the least of the last looks */
} ALIGNED(CACHE_LINE_PAIR);

/* What the CPUs of all nodes share of one node: a stack of full magazines per class and one of empty ones. */
struct depot {
	struct shelf full[CLASSES + 1];
	struct shelf empty;
	struct stack cold ALIGNED(CACHE_LINE_PAIR); /* empty ones whose memory was given back */
	uint32_t stuck;				    /* empty ones of which it could not be, when last tried; the purge lock's */
	uint64_t bytes ALIGNED(CACHE_LINE);	    /* what all full magazines have room for */
	struct regret regret;			    /* of what went to the spans because there was too much of it */
};

_Static_assert((OS_MAX_NODES * CLASSES + 1) * BIN_WORDS <= UINT16_MAX, "the page map has 16 bits for a bin");

extern struct pool near__magazines;
extern struct depot *near__depot[OS_MAX_NODES];
extern HIDDEN enum near_mode near__mode;
extern unsigned near__cpus; /* tables that can exist */
extern struct cpu_table *near__table[OS_MAX_CPUS];
extern uint64_t near__percpu_budget; /* bytes that `charged` should not exceed */
extern uint64_t near__depot_budget;  /* the same for the depot of a node */
extern uint64_t near__drains;

/*
 * Indexed by cpu_id + 2: entries 0 and 1 stand for "registration failed" and "not registered". local_base points
 * into the table at the row of the CPU's own node.
 */
extern HIDDEN struct bin *near__cpu_base[OS_MAX_CPUS + 2];
extern HIDDEN struct bin *near__local_base[OS_MAX_CPUS + 2];

#define CPU_BASE   (near__cpu_base + 2)
#define LOCAL_BASE (near__local_base + 2)

enum { CACHE_LEAST = 1 << 20, CACHE_LEAST_SHARE = 16, CACHE_SHARE = 8 };

/*
 * What of a budget may be used: not much more than a share of the objects that there are, and what was wanted again; and a
 * share of the budget, so that a depot has room when all CPUs of a large machine send a magazine at once.
 */
ALWAYS_INLINE uint64_t near__cache_budget(uint64_t budget, unsigned node, uint64_t regretted)
{
	uint64_t least = size_max(CACHE_LEAST, budget / CACHE_LEAST_SHARE);
	uint64_t share = least + load_relaxed(&near__heap[node]->object_bytes) / CACHE_SHARE + regretted;

	return share < budget ? share : budget;
}

/* Makes stub and depots for near__nodes nodes; false when memory for them cannot be had. */
bool near__cache_start(void);

/* Notes objects of a node that were freed on the table's CPU. */
void near__cache_note_freed(struct cpu_table *table, unsigned node, uint64_t objects, uint64_t bytes);

/*
 * The table of the CPU we are on, made if need be. NULL: there is none for this thread (not registered), it cannot
 * be had now, or it is being drained; then work from depot and heap.
 */
struct cpu_table *near__cache_table(void);

/*
 * Slow halves of malloc and free: an object of (node, class), or NULL; and taking one back. `call` names whom to
 * blame for a double free. `table` may be NULL.
 */
void *near__cache_alloc(struct cpu_table *table, unsigned node, unsigned class);
void near__cache_free(struct cpu_table *table, unsigned bin, void *object, const char *call);

/*
 * A magazine with this many objects leaves the table's CPU for the depot: its home's, or where strangers are adopted the
 * CPU's own.
 */
void near__cache_retire(struct cpu_table *table, unsigned bin, uintptr_t cursor, unsigned objects);

/*
 * Whether the CPU may have filled bins: one of max_caches, until a look finds all of them empty. Who may not works from
 * depot and heap.
 */
bool near__cache_admit(struct cpu_table *table);
/* A look has found the table empty. Under the drain lock. */
void near__cache_dismiss(struct cpu_table *table);

/* ---- magazine.c: magazines are named by the address of their cursor -------------------------------- */

/* An empty magazine, first of `node`, then of `own`, then of any, then a new one; 0: none. */
uintptr_t near__magazine_take(unsigned node, unsigned own);
void near__magazine_give(uintptr_t cursor, unsigned node);
/* Makes it empty with room for `capacity` pointers. */
uintptr_t near__magazine_prepare(uintptr_t cursor, unsigned capacity);
/* Gives a magazine with objects room for `capacity` pointers, more than it has; returns its cursor. */
uintptr_t near__magazine_grow(uintptr_t cursor, unsigned capacity);
unsigned near__magazine_count(uintptr_t cursor);

/* A magazine with objects of the bin; 0: none. */
uintptr_t near__depot_pop(unsigned bin);
/* Takes any magazine with objects of the bin: onto the stack, or into the spans when the depot is full. */
void near__depot_push(unsigned bin, uintptr_t cursor);
/*
 * The magazine's objects into the spans, the magazine to the empty ones. False, and the magazine put on the stack:
 * a signal handler interrupted the span lock.
 */
bool near__depot_flush(unsigned bin, uintptr_t cursor);
/* Bytes of the objects in a node's depot: less than `bytes`, since not all magazines there are full. */
uint64_t near__depot_cached(unsigned node);
/* All full magazines of a node into the spans. Returns bytes. */
size_t near__depot_trim(unsigned node);
/* Gives back the memory of up to `most` empty magazines. Under the purge lock. Returns bytes. */
size_t near__depot_chill(unsigned node, uint32_t most);
/*
 * What nobody needed since the last time goes into the spans, if there is so much in the depot that it is worth it. Under the
 * purge lock.
 */
void near__depot_shed(unsigned node);
/*
 * A look: what nobody needed during the last LOOKS of them goes the same ways. Under the purge lock. Returns bytes;
 * *left becomes true when something is left there.
 */
size_t near__depot_look(unsigned node, unsigned look, bool *left);

/* ---- bins.c: the sections in either mode, on the bin of the CPU we are on --------------------------- */

/*
 * What the steps of one slow path have changed in a table's `charged`, not written there yet: mostly nothing in the
 * end, because magazines of one capacity change places. Begins as zeros.
 */
struct charge {
	struct cpu_table *table;
	int64_t bytes;
};

/* Call after the last step. */
void near__charge_settle(const struct charge *charge);

uintptr_t near__bin_take_spare(unsigned bin, struct charge *charge);
bool near__bin_put_spare(unsigned bin, uintptr_t cursor, struct charge *charge);
uintptr_t near__bin_exchange_empty(unsigned bin, uintptr_t cursor, struct charge *charge);
uintptr_t near__bin_exchange_full(unsigned bin, uintptr_t cursor, struct charge *charge);

/* The cursor that stands in a bin without a magazine. */
extern HIDDEN uint64_t near__nil_magazine[MAGAZINE_SLOTS];
#define NIL_CURSOR ((uintptr_t)near__nil_magazine + MAGAZINE_TOP)

ALWAYS_INLINE bool magazine_is_empty(uintptr_t cursor)
{
	return !*(uintptr_t *)cursor;
}

ALWAYS_INLINE unsigned magazine_capacity(uintptr_t cursor)
{
	return pool_slot_at(&near__magazines, cursor)->capacity;
}

ALWAYS_INLINE struct cpu_table *table_of(struct bin *bins)
{
	return container_of(bins, struct cpu_table, bins);
}

/* The table that stands in for one that is not there or not to be touched. */
extern struct cpu_table *near__stub;
unsigned near__table_bins(void);
/* Lets the sections of the table's CPU reach it. */
void near__table_publish(struct cpu_table *table);
/* What a magazine counts in the budget of the bin's table; nothing for the nil magazine. */
int64_t near__bin_worth(unsigned bin, uintptr_t cursor);

/* ---- drain.c --------------------------------------------------------------------------------------- */

/*
 * Empties the bins of all CPUs into the spans. Returns bytes. Under the purge lock, so that it waits at most for a table
 * that is being made; 0 from a signal handler that came under that.
 */
size_t near__drain_all(void);
/*
 * A look: empties the bins that are as they were for `age` looks into the spans of their nodes. Returns bytes, 0 at once
 * when somebody else is draining; *left becomes true when a bin has a magazine. May be called from signal handlers, as
 * slow paths do.
 */
size_t near__drain_idle(unsigned age, bool *left);

/* Objects of one line are so many places apart in a magazine that was just filled. */
enum { DEALT_RUN = 8 };

/* Into how many hands objects are dealt (see refill.c): 1 where none share a line. */
ALWAYS_INLINE unsigned hands_of(size_t bytes)
{
	return bytes % CACHE_LINE == 0 ? 1 : bytes < CACHE_LINE / 2 ? 4 : 2;
}

/* The capacity that a bin's first magazine has. */
unsigned near__bin_first_capacity(unsigned bin);
/* In the child of a fork: gives tables back that were being drained, and frees orphaned table locks. */
void near__cache_after_fork(void);
/* Whether the calling thread holds the lock of a table. */
bool near__cache_lock_held(void);
/*
 * Serialises draining and the making of tables. Taken before any other lock but the purge lock. Only near__drain_all waits
 * for it.
 */
extern struct lock near__drain_lock;

#endif
