/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* heap/large: runs and mappings, resizing, misuse. */
#include "blocks.h"
#include "heap/limit.h"

Test(large, sizes_are_whole_pages)
{
	cr_assert_eq(near__large_bytes(0), near__os_page_size);
	cr_assert_eq(near__large_bytes(1), near__os_page_size);
	cr_assert_eq(near__large_bytes(4097), 8192);
	cr_assert_eq(near__large_bytes((size_t)PTRDIFF_MAX), 0);
	cr_assert_eq(near__large_bytes(SIZE_MAX), 0);
	cr_assert_neq(near__large_bytes((size_t)PTRDIFF_MAX - 8192), 0);
}

Test(large, runs_up_to_a_mebibyte_mappings_beyond)
{
	char *run = alloc(RUN_LARGEST, 16), *mapping = alloc(RUN_LARGEST + 1, 16);

	cr_assert_eq(span_of(run)->state, SPAN_RUN);
	cr_assert_eq(span_of(mapping)->state, SPAN_MAPPED);
	cr_assert_eq(near__pagemap_span((uintptr_t)mapping + MAP_PAGE), 0, "only the first page is in the map");
	cr_assert(release(run) && release(mapping));
	expect_right();
	cr_assert_not(release(run), "the page map has forgotten it");
	cr_assert_not(release(mapping));
}

Test(large, freed_twice_through_a_stale_record)
{
	char *block = alloc(2 * MIB, 16);
	uint32_t index = near__pagemap_span((uintptr_t)block);
	struct span *span = span_of(block);

	cr_assert(near__large_free(span, index));
	cr_assert_not(near__large_free(span, index), "an extent is no block");
	near__extent_trim(0, 0, true);
	cr_assert_not(near__large_free(span, index), "an unused record neither");
	expect_right();
}

Test(large, alignments)
{
	for (size_t align = 16; align <= 64 * MIB; align *= 2) {
		char *small = alloc(300 * KIB, align), *big = alloc(3 * MIB, align);

		cr_assert(release(small) && release(big));
		expect_right();
	}
}

Test(large, no_memory_is_told)
{
	bool zeroed = false;

	cr_assert_null(near__large_alloc((size_t)PTRDIFF_MAX - MIB, 16, 0, &zeroed));
	cr_assert_null(near__large_alloc(SIZE_MAX, 16, 0, &zeroed));
	cr_assert_null(near__large_alloc(2 * MIB, (size_t)1 << 62, 0, &zeroed));
	expect_right();
}

/* ---- resizing ------------------------------------------------------------------------------------- */

Test(large_resize, runs_stay_or_refuse)
{
	char *block = alloc(300 * KIB, 16);

	cr_assert_eq(resize(block, 300 * KIB - 5), block);
	cr_assert_eq(resize(block, 600 * KIB), block, "room behind it");
	cr_assert_eq(resize(block, 100 * KIB), block);
	cr_assert_eq(span_of(block)->bytes, 100 * KIB);
	cr_assert_null(resize(block, 2 * MIB), "a mapping would need a copy");
	cr_assert_eq(span_of(block)->bytes, 100 * KIB);
	cr_assert_null(resize(block, SIZE_MAX));
	expect_right();
	cr_assert(release(block));
	expect_right();
}

Test(large_resize, mappings_keep_their_contents)
{
	char *block = alloc(2 * MIB, 16), *moved = block;
	uint64_t random = 5;

	for (size_t i = 0; i < 2 * MIB; i += MAP_PAGE)
		*(size_t *)(block + i) = i;
	for (int round = 0; round < 200; round++) {
		size_t size = RUN_LARGEST + 1 + unit_random(&random) % (30 * MIB);
		char *old = moved;

		moved = resize(old, size);
		cr_assert_not_null(moved);
		cr_assert_eq(span_of(moved)->bytes, near__large_bytes(size));
		cr_assert(moved == old || near__pagemap_span((uintptr_t)old) == 0);
		for (size_t i = 0; i < RUN_LARGEST; i += MAP_PAGE)
			cr_assert_eq(*(size_t *)(moved + i), i);
		moved[size - 1] = 1;
	}
	cr_assert_null(resize(moved, RUN_LARGEST), "a run would need a copy");
	cr_assert(release(moved));
	expect_right();
}

Test(large_resize, a_failure_changes_nothing)
{
	char *block = alloc(2 * MIB, 16);

	cr_assert_null(resize(block, (size_t)1 << 50));
	cr_assert_eq(span_of(block)->bytes, 2 * MIB);
	cr_assert_eq(span_of(block)->state, SPAN_MAPPED);
	block[0] = block[2 * MIB - 1] = 1;
	cr_assert(release(block));
	expect_right();
}

/* ---- interrupted ---------------------------------------------------------------------------------- */

Test(large, works_under_any_lock_of_the_heap)
{
	char *run, *mapping;

	cr_assert(release(alloc(2 * MIB, 16)));
	cr_assert(lock_acquire(&near__heap[0]->chunks.lock));
	cr_assert(lock_acquire(&extents()->lock));
	run = alloc(300 * KIB, 16);
	mapping = alloc(2 * MIB, 16);
	cr_assert_eq(span_of(run)->state, SPAN_MAPPED);
	cr_assert_eq(span_of(mapping)->state, SPAN_MAPPED);
	lock_release(&extents()->lock);
	lock_release(&near__heap[0]->chunks.lock);
	cr_assert(release(run) && release(mapping));
	expect_right();
}

/* What one thread was allowed another may have used up; then both are. */
Test(large, a_soft_limit_refuses_nobody_for_good)
{
	near__limit_soft(1);
	cr_assert_not(near__limit_allows(100 * MIB));
	near__limit_relax(100 * MIB);
	cr_assert(near__limit_allows(100 * MIB));
	near__limit_relax(2 * MIB);
	cr_assert_not(near__limit_allows(100 * MIB));
	cr_assert(near__limit_waive());
	cr_assert(near__limit_allows(100 * MIB));
	near__limit_relax(2 * MIB); /* by another thread, now */
	cr_assert(near__limit_allows(100 * MIB));
	near__limit_heed();
	cr_assert_not(near__limit_allows(100 * MIB));
	near__limit_soft(0);
	cr_assert_not(near__limit_waive());
}
