/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* meta/pagemap: ranges, missing leaves, and addresses beyond the map. */
#include "meta/arena.h"
#include "unit.h"

#define LEAF_BYTES  ((uintptr_t)1 << PAGEMAP_LEAF_SHIFT)
#define MAP_END	    ((uintptr_t)PAGEMAP_ROOT_ENTRIES << PAGEMAP_LEAF_SHIFT)
#define NOBODY_HERE ((uintptr_t)1 << 40) /* far from where the kernel maps anything */

Test(pagemap, what_was_never_set_reads_zero)
{
	size_t mapped = near__arena_mapped();

	for (uintptr_t address = 0; address < MAP_END; address += LEAF_BYTES / 2) {
		cr_assert_eq(pagemap_slot(address), 0);
		cr_assert_eq(near__pagemap_span(address), 0);
	}
	cr_assert_eq(near__arena_mapped(), mapped, "looking costs nothing");
}

Test(pagemap, beyond_the_map)
{
	static const uintptr_t strange[] = {MAP_END, MAP_END + 4096, (uintptr_t)1 << 63, UINTPTR_MAX,
					    UINTPTR_MAX - 4095};

	for (size_t i = 0; i < ARRAY_LEN(strange); i++) {
		cr_assert_eq(near__pagemap_span(strange[i]), 0);
		cr_assert_not(near__pagemap_cover(strange[i], 1));
	}
	cr_assert_not(near__pagemap_cover(MAP_END - 4096, 8192));
	cr_assert_not(near__pagemap_cover(UINTPTR_MAX - 4095, 8192), "wraps");
}

Test(pagemap, cover_makes_leaves_once)
{
	size_t leaf = round_up(sizeof(struct leaf), near__os_page_size), before = near__arena_mapped();

	cr_assert(near__pagemap_cover(NOBODY_HERE, 1));
	cr_assert_eq(near__arena_mapped() - before, leaf);
	cr_assert(near__pagemap_cover(NOBODY_HERE, LEAF_BYTES));
	cr_assert_eq(near__arena_mapped() - before, leaf);
	cr_assert(near__pagemap_cover(NOBODY_HERE + LEAF_BYTES - 1, 2));
	cr_assert_eq(near__arena_mapped() - before, 2 * leaf);
	cr_assert(near__pagemap_cover(NOBODY_HERE, 5 * LEAF_BYTES));
	cr_assert_eq(near__arena_mapped() - before, 5 * leaf);
	cr_assert_eq(pagemap_slot(NOBODY_HERE), 0);
	cr_assert(near__pagemap_cover(MAP_END - 4096, 4096), "the last page");
}

Test(pagemap, set_and_look_up)
{
	uintptr_t start = NOBODY_HERE + LEAF_BYTES - 3 * MAP_PAGE; /* across two leaves */
	unsigned bin = near__table_bins() - 1;

	cr_assert(near__pagemap_cover(start, 6 * MAP_PAGE));
	near__pagemap_set(start, 6, bin, 0xabcdef01u);
	for (unsigned i = 0; i < 6 * MAP_PAGE; i += 16) {
		cr_assert_eq(pagemap_slot(start + i), bin * BIN_WORDS);
		cr_assert_eq(near__pagemap_span(start + i), 0xabcdef01u);
	}
	cr_assert(pagemap_slot(start - 1) == 0 && near__pagemap_span(start - 1) == 0);
	cr_assert(pagemap_slot(start + 6 * MAP_PAGE) == 0 && near__pagemap_span(start + 6 * MAP_PAGE) == 0);
	near__pagemap_set(start + MAP_PAGE, 2, 0, 0);
	cr_assert_eq(near__pagemap_span(start), 0xabcdef01u);
	cr_assert_eq(near__pagemap_span(start + MAP_PAGE), 0);
	cr_assert_eq(pagemap_slot(start + 2 * MAP_PAGE), 0);
	cr_assert_eq(near__pagemap_span(start + 3 * MAP_PAGE), 0xabcdef01u);
}

Test(pagemap, the_shared_zero_leaf_stays_zero)
{
	cr_assert(near__pagemap_cover(NOBODY_HERE, 1));
	near__pagemap_set(NOBODY_HERE, 100, 5, 5);
	for (size_t i = 0; i < PAGEMAP_LEAF_PAGES; i++)
		cr_assert_eq(near__pagemap_zero[i], 0);
}
