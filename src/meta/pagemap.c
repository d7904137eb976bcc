/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* The page map. Leaves are never unmapped. */
#include "meta/pagemap.h"

#include "arch/sections.h"
#include "meta/arena.h"

intptr_t near__pagemap_root[PAGEMAP_ROOT_ENTRIES] VAST;
uint16_t near__pagemap_zero[PAGEMAP_LEAF_PAGES] VAST;

static struct leaf *leaf_of(uintptr_t address)
{
	intptr_t distance = load_acquire(&near__pagemap_root[address >> PAGEMAP_LEAF_SHIFT]); /* M3 */

	return distance ? (struct leaf *)((uintptr_t)near__pagemap_zero + (uintptr_t)distance) : NULL;
}

static size_t page_in_leaf(uintptr_t address)
{
	return (address >> MAP_PAGE_SHIFT) & (PAGEMAP_LEAF_PAGES - 1);
}

static bool within(uintptr_t address)
{
	return address >> PAGEMAP_LEAF_SHIFT < PAGEMAP_ROOT_ENTRIES;
}

static uint32_t leaves;

static size_t leaf_bytes(void)
{
	return round_up(sizeof(struct leaf), near__os_page_size);
}

size_t near__pagemap_sparse(void)
{
	enum { TOUCHED_PAGES = 2 };

	return load_relaxed(&leaves) * (leaf_bytes() - size_min(leaf_bytes(), TOUCHED_PAGES * near__os_page_size));
}

static void note_leaf(struct leaf *leaf)
{
	near__arena_note(leaf, leaf_bytes());
	fetch_add_relaxed(&leaves, 1u);
}

static bool cover_one(intptr_t *entry)
{
	intptr_t none = 0;

	if (load_relaxed(entry))
		return true;

	size_t bytes = leaf_bytes();
	struct leaf *leaf = near__os_map_guarded(bytes);

	if (!leaf)
		return false;
	near__os_huge(leaf, bytes, false);

	intptr_t distance = (intptr_t)((uintptr_t)leaf - (uintptr_t)near__pagemap_zero);

	if (!cas_acq_rel(entry, &none, distance)) { /* M2 */
		near__os_discard_guarded(leaf, bytes);
		return true;
	}
	note_leaf(leaf);
	return true;
}

bool near__pagemap_cover(uintptr_t start, size_t bytes)
{
	uintptr_t last = start + bytes - 1;

	if (!within(last) || last < start)
		return false;
	for (uintptr_t i = start >> PAGEMAP_LEAF_SHIFT; i <= last >> PAGEMAP_LEAF_SHIFT; i++) {
		if (!cover_one(&near__pagemap_root[i]))
			return false;
	}
	return true;
}

void near__pagemap_set(uintptr_t start, size_t pages, unsigned bin, uint32_t span)
{
	for (size_t n; pages; pages -= n, start += n * MAP_PAGE) {
		struct leaf *leaf = leaf_of(start);
		size_t first = page_in_leaf(start);

		n = size_min(pages, PAGEMAP_LEAF_PAGES - first);
		for (size_t page = first; page < first + n; page++) {
			store_relaxed(&leaf->span[page], span); /* M0 */
			/* Of large blocks it is 0 already, and a leaf's page that nobody wrote takes no memory. */
			if (bin || load_relaxed(&leaf->bin[page]))
				store_relaxed(&leaf->bin[page], (uint16_t)(bin * BIN_WORDS)); /* M0 */
		}
	}
}

uint32_t near__pagemap_span(uintptr_t address)
{
	struct leaf *leaf = within(address) ? leaf_of(address) : NULL;

	return leaf ? load_relaxed(&leaf->span[page_in_leaf(address)]) : 0;
}
