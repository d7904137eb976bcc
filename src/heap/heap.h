/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * The data model of a node's heap: regions, chunks, spans, extents.
 *
 *     region   address space of one node, committed chunk by chunk from the bottom; unmapped when nothing of it is used
 *     chunk    2 MiB of it, 512 pages, handed out as runs of pages
 *     span     a run that holds objects of one class, or one large block; or a mapping of its own
 *     extent   such a mapping after its block was freed, kept for the next
 *
 * Every lock below is taken alone, but for the purge lock, which whoever gives memory back takes first, and holds beside
 * one of the others at a time. Each guards data that can be derived anew from the span
 * records, whose `state` is the authority on who owns what. So a fork takes no lock at all: the child looks which
 * locks were held by threads that did not come along, breaks them and rebuilds what they guard (rebuild.c). For
 * that the stores to a record come before the store to its state, which is the last in a critical section that
 * gives memory out and the first in one that takes memory back.
 */
#ifndef NEAR_HEAP_HEAP_H
#define NEAR_HEAP_HEAP_H

#include "base/lock.h"
#include "meta/classes.h"
#include "meta/pagemap.h"
#include "meta/pool.h"

enum {
	CHUNK_BYTES = 2 << 20,
	CHUNK_PAGES = CHUNK_BYTES / MAP_PAGE,
	GRID_PAGES = 16, /* longer runs begin at multiples of it, see near__heap_grid */
	CHUNK_WORDS = CHUNK_PAGES / 64,
	CHUNK_BUCKETS = 16 + 4 * 5 + 1,
	RUN_LARGEST = 1 << 20, /* larger blocks are mappings of their own */
	SPAN_BUCKETS = 8,
	SPAN_WORDS = SPAN_MOST_OBJECTS / 64,
};

enum span_state {
	SPAN_UNUSED = 0, /* the record names no memory */
	SPAN_HELD,	 /* memory in some thread's hands, on its way to or from the states below */
	SPAN_OBJECTS,	 /* objects of a class */
	SPAN_RUN,	 /* one large block, pages of a chunk */
	SPAN_MAPPED,	 /* one large block, a mapping of its own */
	SPAN_EXTENT,	 /* such a mapping, free and kept */
};

/* Invariant: used + popcount(free) == fresh <= objects of the class. */
struct span {
	uintptr_t start;
	size_t bytes;
	union {
		struct {
			uint32_t state; /* enum span_state; what the record says is valid while this is not SPAN_UNUSED */
			uint16_t class;
			uint16_t node;
		};
		uint64_t whose; /* all three in one load */
	};
	uint32_t chunk;	     /* index of its record; 0 for mappings */
	uint32_t next, prev; /* on its span list or extent list */
	uint16_t used;	     /* objects in the program's hands or in caches */
	uint16_t fresh;	     /* objects handed out at least once; beyond it nothing was ever touched by us */
	uint16_t low;	     /* below this many used objects it belongs in a lower bucket */
	uint8_t bucket;
	uint8_t listed;	 /* on its span list: neither full nor in somebody's hands */
	uint8_t age;	 /* looks since an object came or went; SPAN_PURGED: its free pages were given back since */
	uint8_t purging; /* its free pages are being given back: unlisted, it takes objects back and hands none out */
	uint8_t hollow;	 /* pages of it were given back when the heap grew, and nothing was handed out since; lossy */
	uint8_t rigid;	 /* of a kept mapping: it could not grow the last time that this was tried */
	uint64_t free[SPAN_WORDS] ALIGNED(CACHE_LINE);
};

_Static_assert(sizeof(struct span) == 192, "three lines: the header and the bitmap");

enum { SPAN_PURGED = UINT8_MAX };

/* Spans of one class on one node that have a free object, by fullness: bucket i holds i/8 to (i+1)/8. LIFO. */
struct span_list {
	struct lock lock;
	uint32_t empties; /* spans on the list without a used object */
	uint32_t first[SPAN_BUCKETS];
} ALIGNED(CACHE_LINE);

/* CHUNK_HUGE: the kernel was asked for a huge page. CHUNK_SPLIT: a part went back, and it was told not to fill the hole. */
enum chunk_huge { CHUNK_SMALL, CHUNK_HUGE, CHUNK_SPLIT };

/* Invariant: `free` clear bits in used; `dirty_free` of them set in dirty; no dirty bit beyond what was committed. */
struct chunk {
	uintptr_t base;
	uint32_t next, prev; /* in its bucket */
	uint32_t region;     /* index of its record */
	uint32_t sibling;    /* the chunk that was carved before it from the same region */
	uint16_t node;
	uint16_t free;	     /* pages */
	uint16_t longest;    /* run of free pages, */
	uint16_t on_grid;    /* and such a run from a multiple of GRID_PAGES */
	uint16_t dirty_free; /* free pages that are dirty */
	uint8_t bucket;
	uint8_t in_use; /* the record is filled in */
	uint8_t huge;	/* enum chunk_huge */
	uint8_t fresh;	/* that is to be timed, when it is touched first */
	uint8_t touching; /* which is under way: nothing of it may be purged */
	uint64_t used[CHUNK_WORDS];
	uint64_t dirty[CHUNK_WORDS]; /* pages that may hold something else than zeros, or be resident */
};

/* In a list by node, the newest first. Invariant: `busy` of its chunks have a used page. */
struct region {
	uintptr_t base;
	size_t bytes;
	size_t carved;	/* bytes committed as chunks, from the bottom */
	uint32_t next;
	uint32_t chunks; /* index of the newest; they are linked by `sibling` */
	uint32_t busy;
	uint16_t node;
	uint8_t in_use;
	uint8_t holes; /* chunks of it were unmapped, and others may live there */
	uint8_t age;   /* looks since it was busy; REGION_REFUSED: the kernel would not unmap it then */
};

enum { REGION_REFUSED = UINT8_MAX };

/* A run of free pages that is out of circulation, marked as used, while it is given back without the lock. */
struct lent {
	uint32_t chunk;
	uint16_t at, pages; /* 0 pages: none */
};

enum { LENT_MOST = 16 };

/* What was given back and not taken again since, and how much of it was taken again lately. Lossy. */
struct regret {
	size_t gone;
	size_t regretted;
};

/* Invariant: free_bytes and dirty_free are the sums over the node's chunks. */
struct chunk_heap {
	struct lock lock;
	struct stack later ALIGNED(CACHE_LINE_PAIR); /* spans whose pages a signal handler could not give back */
	uint64_t nonempty ALIGNED(CACHE_LINE_PAIR);  /* bit per bucket */
	uint32_t first[CHUNK_BUCKETS];
	uint32_t regions; /* the newest; its index */
	struct lent lent[LENT_MOST];
	size_t reserved;   /* address space of all regions */
	size_t committed;  /* bytes of all chunks */
	size_t free_bytes; /* of free pages, dirty or not */
	size_t dirty_free; /* bytes of free pages that are dirty */
	size_t given_back; /* bytes purged or unmapped so far */
	size_t stuck;	   /* of dirty_free, when last tried, that the kernel would not take; the purge lock's */
	struct regret regret;
	/* Of 256 pages in use, and of 256 that are free and dirty, so many are resident; see retain.c. */
	unsigned used_density, free_density;
	uint32_t sampled;   /* the chunk looked at last; the purge lock's, as is: */
	uint32_t samples;   /* how often that was done, up to a bound */
	unsigned unsampled; /* runs taken and given since; lossy */
	size_t grown;	    /* bytes of pages made resident since the wish HEAP_GROWN; lossy */
} ALIGNED(CACHE_LINE_PAIR);

/* A node that memory is taken from; and how much, when it stood in for another (lossy counts). */
struct source {
	uint16_t node;
	uint64_t blocks, bytes;
};

/* Freed mappings, newest first. Neighbours are one. */
struct extent_list {
	struct lock lock;
	uint32_t first, last;
	uint32_t count;
	size_t bytes;
	struct regret regret;
} ALIGNED(CACHE_LINE_PAIR);

struct heap {
	struct span_list spans[CLASSES + 1];
	struct chunk_heap chunks;
	struct extent_list extents;
	size_t span_bytes ALIGNED(CACHE_LINE); /* of all spans of objects, */
	size_t object_bytes;		       /* and of the objects that the program or caches have; */
	size_t object_high;		       /* the most since caches were emptied for want of them; lossy */
	size_t freed_since, sparse_wait;       /* bytes freed since then; how many there should be until the next time; lossy */
	size_t emptied_objects;	       /* bytes of objects that were left when caches were last emptied for that; lossy */
	size_t hollow;			       /* holes in spans that stay when the heap grows: their free pages were given back; lossy */
	struct regret hollow_regret;
	uint32_t squeezed; /* where giving them back goes on; 0: nowhere; the purge lock's */
	unsigned sources;
	struct source *source; /* by distance, itself first */
};

extern struct pool near__spans, near__chunks, near__regions;
extern unsigned near__nodes; /* heaps that exist */
extern struct heap *near__heap[OS_MAX_NODES];

/* At the first call of anything: makes the heap of node 0. False when it cannot, or was interrupted by this very call. */
bool near__heap_first(void);
/* Makes the heap of a node; false when no memory can be had. */
bool near__heap_start(unsigned node);
/* Makes resident what the node's heap has handed out so far. */
void near__heap_populate(unsigned node);
/* Notes that source i of a node stood in for it. */
void near__heap_note_fallback(unsigned node, unsigned i, size_t bytes);

/* ---- span.c --------------------------------------------------------------------------------------- */

/*
 * Writes up to `want` free objects to top[0], top[-1], ..., the lowest address at the top, and returns how many.
 * 0: no memory, or the calling thread was interrupted under a lock that this needs.
 */
unsigned near__span_take(unsigned node, unsigned class, void **top, unsigned want);

/*
 * Takes back n objects of one class, at most MAGAZINE_CAPACITY, from the last to the first. A free object among them
 * ends the program; `call` names whom to blame. Returns how many; fewer: the calling thread was interrupted under a lock
 * that the next one needs.
 */
unsigned near__span_give(unsigned class, void *const *objects, unsigned n, const char *call);

/* The start of the object that `address` points into, and whether it has been handed out; 0 when it has not. */
uintptr_t near__span_object(const struct span *span, uintptr_t address);

/* Gives the spans of which nothing is used, and which lay on the list for `age` looks, back to the chunks. */
void near__span_release_empty(unsigned node, unsigned age);

/* Takes a listed span off its list, under its lock. Call before `used` changes from or to 0. */
void near__span_unlink(struct span_list *list, struct span *span);
/*
 * The span named there was being purged, and is not any more: it goes onto its list, or if it became empty meanwhile perhaps
 * to its chunk, and 0 is written there.
 */
void near__span_take_back(uint32_t *purging);
/* Links what the record says, unless the span is being purged or full. Under the list's lock; the span is not listed. */
void near__span_relink(struct span_list *list, struct span *span, uint32_t index);

/* ---- chunk.c, region.c ---------------------------------------------------------------------------- */

/*
 * Gives span->bytes of memory to the span: sets start, chunk and, last, `state`. Align in bytes, at most
 * CHUNK_BYTES. *zeroed tells whether all of it reads as zero. False: no memory, or interrupted under the lock.
 */
bool near__chunk_take(struct span *span, size_t align, enum span_state state, bool *zeroed);
/* Takes it and the span's record back. When interrupted under the lock, whoever takes that next does it. */
void near__chunk_give(struct span *span, uint32_t index);
/* Grows or shrinks a run in place to `bytes`. */
bool near__chunk_resize(struct span *span, size_t bytes);
/*
 * A new chunk, committed, from the node's regions: says where it is in the record of this index. False: none can be had.
 * Under the chunk lock.
 */
bool near__region_carve(struct chunk_heap *heap, unsigned node, uint32_t chunk);
void near__chunk_rebuild(unsigned node);
/* Asks for huge pages for regions that were made before the options were known. */
void near__region_huge(void);
/* Binds regions that were made before the nodes were known, and moves what is in them already. */
void near__region_bind(unsigned node);

/* ---- large.c -------------------------------------------------------------------------------------- */

/*
 * A block beyond the classes, or aligned beyond them. NULL: no memory. Lock-free but for caches that it can do without.
 * *zeroed says whether zeros are wanted, then whether it reads as zero.
 */
void *near__large_alloc(size_t bytes, size_t align, unsigned node, bool *zeroed);
/* Binds mappings that were made before the nodes were known, and moves what is in them already. */
void near__large_bind(void);
/* The span starts at the block. False: somebody else freed it already. */
bool near__large_free(struct span *span, uint32_t index);
/* The block at its new size, moved or not; NULL and nothing changed when that needs a copy. */
void *near__large_resize(struct span *span, uint32_t index, size_t bytes);
/* Bytes that a large block of this size takes; 0 when it overflows. */
size_t near__large_bytes(size_t size);

/* ---- rebuild.c ------------------------------------------------------------------------------------ */

/* In the child of a fork: frees orphaned locks and rebuilds what they guard. */
void near__heap_after_fork(void);
/* Whether the calling thread holds a lock of any heap. */
bool near__heap_lock_held(void);

/* Objects and pages given up; see near_stats. */
extern uint64_t near__heap_lost;
/* This is the child of a fork, to which is lost what other threads had in their hands. */
extern bool near__heap_forked;

/*
 * A record that is nobody's, as a whole. It says that it is not in use before and after; others may look at that meanwhile.
 */
ALWAYS_INLINE void span_renew(struct span *span, uintptr_t start, size_t bytes, unsigned class, unsigned node)
{
	*span = (struct span){.start = start, .bytes = bytes, .class = (uint16_t) class, .node = (uint16_t)node};
}

ALWAYS_INLINE void chunk_renew(struct chunk *chunk, unsigned node)
{
	*chunk = (struct chunk){
		.node = (uint16_t)node, .free = CHUNK_PAGES, .longest = CHUNK_PAGES, .on_grid = CHUNK_PAGES};
}

ALWAYS_INLINE void region_renew(struct region *region, uintptr_t base, size_t bytes, uint32_t next, unsigned node)
{
	*region = (struct region){.base = base, .bytes = bytes, .next = next, .node = (uint16_t)node};
}

#endif
