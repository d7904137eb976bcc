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

/* What malloc(size) would really give: the usable size; 0 when no such block can exist. */
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
 * Not for signal handlers. When another thread is trimming already it returns 0 at once.
 */
NEAR_EXPORT size_t near_trim(size_t keep);

/* Whether ptr was returned by this allocator and not yet freed, as far as its page tells. Never follows ptr. */
NEAR_EXPORT bool near_owns(const void *ptr) NEAR_NO_ACCESS;

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
};

/* Fills the first `size` bytes of *out. Returns 0, or -1 with errno EINVAL when size is 0 or out is NULL. */
NEAR_EXPORT int near_stats(struct near_stats *out, size_t size);

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
