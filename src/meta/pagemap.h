/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * The page map: from an address to the bin of its object (two loads) and to its span record.
 *
 *     address   63   47/48  30 29         12 11    0
 *              +------+--------+------------+-------+
 *              |  0   |  root  |    leaf    |       |
 *              +------+--------+------------+-------+
 *
 * The root holds the distance of each leaf from the zero leaf, so that a root full of zeros names it everywhere
 * and start-up touches nothing. Bin 0: not an object of a size class (large, foreign, free). An address beyond
 * the map must not be looked up: compare (address >> PAGEMAP_LEAF_SHIFT) with near__pagemap_limit.
 *
 * Writers own the pages whose entries they write. Readers need no lock: a pointer that was handed out carries
 * the happens-before of its handing out (M0 the stores here, before the magazine or block is published; M1 the
 * reads in free). Leaves are installed by CAS (M2) and read with acquire (M3); on the fast path the dependency
 * from the root's entry to the leaf orders them.
 */
#ifndef NEAR_META_PAGEMAP_H
#define NEAR_META_PAGEMAP_H

#include "base/atomic.h"
#include "base/bits.h"

enum {
	MAP_PAGE_SHIFT = 12, /* fixed, whatever the kernel's pages are */
	MAP_PAGE = 1 << MAP_PAGE_SHIFT,
	PAGEMAP_LEAF_SHIFT = 30,
	PAGEMAP_LEAF_PAGES = 1 << (PAGEMAP_LEAF_SHIFT - MAP_PAGE_SHIFT),
#if defined(__x86_64__)
	PAGEMAP_ADDRESS_BITS = 47,
#else
	PAGEMAP_ADDRESS_BITS = 48,
#endif
	PAGEMAP_ROOT_ENTRIES = 1 << (PAGEMAP_ADDRESS_BITS - PAGEMAP_LEAF_SHIFT),
};

struct leaf {
	uint16_t bin[PAGEMAP_LEAF_PAGES];
	uint32_t span[PAGEMAP_LEAF_PAGES];
};

extern HIDDEN intptr_t near__pagemap_root[PAGEMAP_ROOT_ENTRIES];
/* Never written; not const, so that it takes no place in the file. */
extern HIDDEN uint16_t near__pagemap_zero[PAGEMAP_LEAF_PAGES];

/* The bin of the object at `address`, as the place of its bin in a table, in words; 0: none. Within the map only. */
ALWAYS_INLINE uint64_t pagemap_slot(uintptr_t address)
{
	uintptr_t leaf = (uintptr_t)near__pagemap_zero +
			 (uintptr_t)load_relaxed(&near__pagemap_root[address >> PAGEMAP_LEAF_SHIFT]);

	return ((const uint16_t *)leaf)[(address >> MAP_PAGE_SHIFT) & (PAGEMAP_LEAF_PAGES - 1)];
}

/* Bytes of leaves that are hardly resident: of most of them a page or two are touched. */
size_t near__pagemap_sparse(void);

/* Makes the leaves for a range; false when memory for them cannot be had, or it lies beyond the map. */
bool near__pagemap_cover(uintptr_t start, size_t bytes);
/* Sets the entries of `pages` pages; covered before. `bin` is the bin's number. */
void near__pagemap_set(uintptr_t start, size_t pages, unsigned bin, uint32_t span);
/* The span record's index of any address; 0: none. */
uint32_t near__pagemap_span(uintptr_t address);

#endif
