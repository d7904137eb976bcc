/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * nearmalloc: what a program may ask of its allocator beyond the standard names.
 *
 * Sizes are bytes. Memory obtained here is released with free(). Unless a comment says otherwise a
 * function may be called from any thread and from signal handlers, does not change errno on success,
 * and is safe in the child of a fork. See near_malloc(3).
 */
#ifndef NEAR_MALLOC_H
#define NEAR_MALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef NEAR_EXPORT
#define NEAR_EXPORT __attribute__((visibility("default")))
#endif

/* The functions look at the pointer, not at what it points to: no warning of uninitialised memory, please. */
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 11
#define NEAR_NO_ACCESS __attribute__((access(none, 1)))
#else
#define NEAR_NO_ACCESS
#endif

/* The version of the library in use, "MAJOR.MINOR.PATCH"; a constant string. */
NEAR_EXPORT const char *near_version(void);

/*
 * Bytes that may be used at ptr, all of them; at least what was asked for. 0 for NULL. A pointer that no
 * allocation function returned ends the program as free() would.
 */
NEAR_EXPORT size_t near_usable_size(const void *ptr) NEAR_NO_ACCESS;

/*
 * The usable size that malloc(size) would give, which may give more beyond 1 MiB or when memory is short; 0 when no such
 * block can exist.
 */
NEAR_EXPORT size_t near_good_size(size_t size);

struct near_sized {
	void *ptr;   /* NULL, with errno ENOMEM, on failure */
	size_t size; /* usable bytes at ptr */
};

/* malloc(size) that tells in the same call how much was given. */
NEAR_EXPORT struct near_sized near_malloc_at_least(size_t size);

/*
 * Gives back what is free now: drains the caches of all CPUs, returns free spans and whole free pages to the
 * kernel, and keeps at most about `keep` bytes of free memory resident. Returns the bytes given back.
 * Not for signal handlers. Waits for another thread that is trimming; called from within a near_walk it does not, and returns 0.
 */
NEAR_EXPORT size_t near_trim(size_t keep);

/* Whether ptr was returned by this allocator and not yet freed, as far as its page tells. Never follows ptr. */
NEAR_EXPORT bool near_owns(const void *ptr) NEAR_NO_ACCESS;

/*
 * ---- Nodes ----
 *
 * Nodes have the kernel's numbers, as in numactl --hardware. Memory has a home: the node that it was allocated for,
 * to which it returns when it is freed, whoever frees it. Where memory is not kept apart by nodes (one node only,
 * numa:off, a memory policy of the user's) these calls work too, and the node is only checked.
 */

/* The highest node number of the machine; 0 when there is but one. As numa_max_node(3). */
NEAR_EXPORT int near_max_node(void);

/*
 * malloc, calloc, aligned_alloc and realloc for a node instead of the one that the calling CPU belongs to. The node is
 * preferred: when it is full, others serve by distance, but with numa_strict:true the call fails. A realloc moves
 * the block when its home is another node. NULL with errno EINVAL: there is no such node, it has no memory, or the
 * process may not use it (then realloc leaves the block alone), or the alignment is not a power of two; ENOMEM.
 */
NEAR_EXPORT void *near_malloc_on_node(size_t size, int node);
NEAR_EXPORT void *near_calloc_on_node(size_t count, size_t size, int node);
NEAR_EXPORT void *near_aligned_alloc_on_node(size_t align, size_t size, int node);
NEAR_EXPORT void *near_realloc_on_node(void *ptr, size_t size, int node);

/*
 * The home of a block; any address inside it will do. -1 with errno EINVAL: not from this allocator, or free (small
 * blocks in caches count as in use); ENODATA: memory is not kept apart by nodes, so it has no home.
 */
NEAR_EXPORT int near_node_of(const void *ptr) NEAR_NO_ACCESS;

/*
 * Where the memory really lies: counts[n] becomes the number of pages (the kernel's, sysconf(_SC_PAGESIZE)) of
 * [ptr, ptr + length) that are resident on node n, for each n from 0 to near_max_node(). Pages never touched are on no
 * node. Any mapped memory will do. Returns 0, or -1 with errno: EINVAL (counts is NULL, or the range wraps around), or that of
 * move_pages(2).
 */
NEAR_EXPORT int near_node_resident(const void *ptr, size_t length, size_t counts[]) NEAR_NO_ACCESS;

/* Figures of one node. Objects count in `refills` when their magazine is brought to a CPU. */
struct near_node_stats {
	uint64_t mapped;         /* bytes committed whose home is this node */
	uint64_t refills;        /* magazines brought to CPUs of this node, */
	uint64_t refills_remote; /* of these, with memory of another (near_malloc_on_node) */
	uint64_t allocated_large;/* blocks beyond the size classes that live here now */
};

/*
 * What CPUs of one node did with memory of another, or of their own. Objects are counted by the magazine, when it leaves
 * the CPU, so those that were handed out again before do not count; blocks beyond the size classes one by one.
 */
struct near_node_pair {
	uint64_t freed;          /* objects freed there whose home is here, */
	uint64_t freed_bytes;
	uint64_t fallbacks;      /* allocations on the one node that the other had to serve, the first having none */
	uint64_t fallback_bytes;
	uint64_t distance;       /* as in numactl --hardware; 0: unknown */
};

/*
 * Fill the first `size` bytes of *out. Return 0, or -1 with errno EINVAL: size is 0, out is NULL, or no memory is kept on
 * a node of this number. In a pair, `on` is the node of the CPU and `home` that of the memory.
 */
NEAR_EXPORT int near_node_stats(int node, struct near_node_stats *out, size_t size);
NEAR_EXPORT int near_node_pair(int on, int home, struct near_node_pair *out, size_t size);

/*
 * Samples where the memory whose home is `home` lies: looks at about `pages` of its pages, evenly spread, and counts those
 * that are resident as near_node_resident does. Returns and errors as near_node_resident, and EINVAL for the node.
 */
NEAR_EXPORT int near_node_sample(int home, size_t pages, size_t counts[]);

/*
 * ---- Limits ----
 *
 * limit_soft and limit_hard (nearmalloc(3)) bound the footprint: bytes that the allocator has from the kernel and that may
 * be resident. At the soft limit everything free is given back before the heap grows; at the hard limit, when that did not
 * help, the call that wanted more fails with ENOMEM.
 */
enum near_limit {
	NEAR_LIMIT_SOFT = 1,
	NEAR_LIMIT_HARD = 2,
};

/*
 * Has `callback` called when a limit is reached, before anything is given back: in the thread that wanted `wanted` bytes
 * more, which holds no lock of the allocator's. It may free, and allocate little: it is not called again for that. One
 * callback per process; NULL takes it back. It may be called from where malloc may be, signal handlers included.
 */
NEAR_EXPORT void near_on_limit(void (*callback)(int limit, size_t footprint, size_t wanted, void *argument),
			       void *argument);

/* How the per-CPU caches are synchronised; see near_stats. */
enum near_mode {
	NEAR_MODE_EARLY = 0,  /* before start-up has ended */
	NEAR_MODE_RSEQ = 1,   /* restartable sequences */
	NEAR_MODE_LOCKED = 2, /* a lock per CPU table */
};

/*
 * Figures of the whole process. Byte counts; `allocated` + `cached_*` + `free_*` + `metadata` explain
 * `mapped`. They are read while other threads run: each is right at some moment of the call.
 */
struct near_stats {
	uint32_t version;            /* 1; later versions only append members */
	uint32_t mode;               /* enum near_mode */
	uint32_t nodes;              /* nodes that memory is kept apart for */
	uint32_t cpus;               /* CPUs that may appear */
	uint64_t allocated;          /* in blocks that the program owns (usable sizes) */
	uint64_t cached_cpu;         /* in the bins of all CPUs */
	uint64_t cached_depot;       /* in the depots of all nodes */
	uint64_t free_span;          /* free objects and never used tails inside spans */
	uint64_t free_chunk;         /* free pages inside chunks */
	uint64_t cached_extent;      /* large blocks kept for re-use */
	uint64_t metadata;           /* the allocator's own */
	uint64_t mapped;             /* committed address space, all of the above */
	uint64_t large;              /* part of `allocated` that lies outside the size classes */
	uint64_t refills;            /* magazines brought to a CPU */
	uint64_t refills_depot;      /* of these, from a depot */
	uint64_t flushes;            /* magazines taken from a CPU */
	uint64_t flushes_remote;     /* of these, to another node */
	uint64_t refilled_objects;   /* objects in `refills` */
	uint64_t slow_malloc;        /* calls of malloc that left the fast path */
	uint64_t slow_free;          /* calls of free that did */
	uint64_t drains;             /* CPU tables emptied from outside */
	uint64_t foreign;            /* pointers of other allocators left alone */
	uint64_t lost;               /* objects given up because no memory could be had to note them */
	uint64_t slack;              /* part of `allocated` beyond what was asked for; estimated from slow calls, blocks beyond the classes apart */
	uint64_t retained;           /* free pages that may be resident, and `cached_extent` */
	uint64_t footprint;          /* what limits bound: `mapped` without the free pages that are not */
};

enum near_range_kind {
	NEAR_RANGE_OBJECTS = 1, /* pages of a span with at least one object that the program or a cache has */
	NEAR_RANGE_HOLE,	/* pages of a span with none */
	NEAR_RANGE_LARGE,	/* a block beyond the size classes */
	NEAR_RANGE_FREE,	/* free pages between them */
	NEAR_RANGE_KEPT,	/* freed large blocks kept for re-use */
	NEAR_RANGE_METADATA,	/* the allocator's own; never unmapped */
};

struct near_range {
	const void *start;
	size_t bytes;  /* whole units of 4096 */
	uint32_t kind; /* enum near_range_kind */
	int node;      /* home, -1 where memory is not kept apart by nodes; of metadata without meaning */
};

/*
 * Visits all memory of the allocator: each range once, but what is made or moved meanwhile perhaps never or twice. While
 * `visit` runs its range stays mapped and may be read, though the program writes there and may free it. It may allocate
 * and free. Its first result that is not 0 ends the walk and is returned; else 0. Waits for nobody for long; what wants
 * to unmap memory waits for the visit. Not from signal handlers.
 */
NEAR_EXPORT int near_walk(int (*visit)(const struct near_range *range, void *argument), void *argument);

/* Bytes that are resident, by kind of range, as the kernel tells (mincore(2)). `total` is what smaps calls the Rss of them. */
struct near_residence {
	uint64_t objects, holes, large, free, kept, metadata;
	uint64_t total;
};

/*
 * Looks at all pages of the allocator: some microseconds for a MiB. Fills the first `size` bytes of *out. Returns 0, or
 * -1 with errno EINVAL as near_stats, ENOMEM, or what mincore(2) says. Not from signal handlers.
 */
NEAR_EXPORT int near_residence(struct near_residence *out, size_t size);

/* Fills the first `size` bytes of *out. Returns 0, or -1 with errno EINVAL when size is 0 or out is NULL. */
NEAR_EXPORT int near_stats(struct near_stats *out, size_t size);

/*
 * Looks whether all that the allocator knows fits together: each object is free in its span, or in one magazine of one
 * CPU or depot, or the program's; counts, lists and the page map agree with that; no page is both in use and given
 * back. Tells each violation in a line on stderr, the first 20, and returns how many there are; or -1 with errno
 * ENOMEM, or EBUSY when a signal handler interrupted the calling thread while it gave memory back. Meaningful only while no
 * other thread is in a call of the allocator: else what is just on its way looks like a violation. What is wrong is told and
 * not followed, so that this ends whatever it meets. Takes some ten milliseconds for a GiB. Not from signal handlers that
 * interrupted the allocator.
 */
NEAR_EXPORT int near_check(void);

/* Writes the one-screen report to a file descriptor. Returns 0, or -1 with errno from write(2). */
NEAR_EXPORT int near_report(int fd);

/*
 * A program may define this string to give options of its own, in the form of the environment variable
 * NEARMALLOC_CONF; see nearmalloc(3). It is read once, at start.
 */
extern const char *near_conf;

#ifdef __cplusplus
}
#endif

#endif
