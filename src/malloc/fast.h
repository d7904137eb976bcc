/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * The fast paths, whole.
 *
 * Both bounds are 0 until start-up has ended, and stay 0 in the locked mode: before the offset of the rseq area is
 * known a section would write into a stranger's thread-local memory.
 */
#ifndef NEAR_MALLOC_FAST_H
#define NEAR_MALLOC_FAST_H

#include "malloc/malloc.h"

extern HIDDEN size_t near__small_limit;	     /* sizes below it may try the fast path */
extern HIDDEN uintptr_t near__pagemap_limit; /* (address >> PAGEMAP_LEAF_SHIFT) below it may be looked up */

ALWAYS_INLINE void *fast_malloc(size_t size)
{
	if (unlikely(size >= near__small_limit))
		return near__malloc_slow(size);

	void *object = section_pop(LOCAL_BASE, near__class_slot[(size + 15) / 16]);

	return likely(object != NULL) ? object : near__malloc_slow(size);
}

ALWAYS_INLINE void *malloc_on(size_t size, int node)
{
	bool zeroed;

	return node == NODE_OF_CALLER ? fast_malloc(size)
				      : near__alloc((struct request){.size = size, .node = node}, &zeroed);
}

/* What is no object of a class has bin 0, which is always full. */
ALWAYS_INLINE void fast_free(void *ptr, const char *call)
{
	uintptr_t address = (uintptr_t)ptr;

	if (unlikely(address >> PAGEMAP_LEAF_SHIFT >= near__pagemap_limit) ||
	    unlikely(section_push(CPU_BASE, pagemap_slot(address), ptr)))
		near__free_slow(ptr, call);
}

#endif
