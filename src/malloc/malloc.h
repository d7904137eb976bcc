/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * The allocation functions as the wrappers in abi/ and the other layers see them. All are safe in signal handlers
 * and in the child of a fork, whatever was interrupted; none changes errno but to ENOMEM or EINVAL where it says so.
 *
 *     malloc --> fast_malloc --(empty, large, not started)--> near__malloc_slow
 *                                                               |-- near__cache_alloc   magazines
 *                                                               |-- other nodes         one object
 *                                                               `-- near__large_alloc   pages
 *     free ----> fast_free ----(full, not small)-------------> near__free_slow --> near__cache_free | near__large_free
 */
#ifndef NEAR_MALLOC_MALLOC_H
#define NEAR_MALLOC_MALLOC_H

#include "cache/cache.h"
#include "near/malloc.h"

/* ---- init.c ---------------------------------------------------------------------------------------- */

/* Makes the first heap if nobody has; false while that fails, or when it was interrupted by this very call. */
bool near__init(void);
/* One word on why the mode is what it is, for the report. */
const char *near__init_reason(void);
/* In the child of a fork. */
void near__after_fork(void);

/* ---- slow.c ---------------------------------------------------------------------------------------- */

enum { NODE_OF_CALLER = -1 };

struct request {
	size_t size;
	size_t align; /* 0: that of a class will do */
	int node;     /* dense, or NODE_OF_CALLER */
	bool zeros;   /* are wanted: best memory that the kernel has zeroed */
};

/* NULL with errno ENOMEM; *zeroed when the memory is known to read as zero. */
void *near__alloc(struct request request, bool *zeroed);
/* malloc in full. NULL with errno ENOMEM. */
void *near__malloc_slow(size_t size);
void *near__calloc(size_t count, size_t size, int node);
/* free in full; `call` is the name that an error message gives. */
void near__free_slow(void *ptr, const char *call);

/* NULL with errno ENOMEM; for tail calls. */
void *near__enomem(void);

/* ---- lookup.c -------------------------------------------------------------------------------------- */

/*
 * A pointer resolved: its bin, and usable bytes; or where bin is 0, the record of its span. bytes == 0: not ours (any more).
 * Two words, which are passed in registers.
 */
struct block {
	size_t bytes;
	uint32_t bin;
	uint32_t index;
};

ALWAYS_INLINE struct span *block_span(struct block block)
{
	return pool_record(&near__spans, block.index);
}

ALWAYS_INLINE unsigned block_node(struct block block)
{
	return block.bin ? bin_node(block.bin) : block_span(block)->node;
}

struct block near__lookup(const void *ptr) NEAR_NO_ACCESS;
/* The node that the block around an address belongs to; -1: no block. Slow inside large blocks. */
int near__home_of(const void *ptr) NEAR_NO_ACCESS;
/* Ends the program for a pointer that near__lookup does not know, unless it is to be left alone. */
void near__foreign(const void *ptr, const char *call);
extern uint64_t near__foreign_count;
/* 0 for NULL and for what near__foreign lets pass; `call` as in near__free_slow. */
size_t near__usable_size(const void *ptr, const char *call) NEAR_NO_ACCESS;

/* ---- realloc.c, aligned.c -------------------------------------------------------------------------- */

void *near__realloc(void *ptr, size_t size, int node, const char *call);
/* Align is a power of two. NULL with errno ENOMEM. */
void *near__aligned(size_t align, size_t size, int node);
/* The usable size that an allocation of this size gets; 0 when none can be had. */
size_t near__good_size(size_t size);

#endif
