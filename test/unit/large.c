/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* heap/large: runs, mappings and kept extents; best fit, bounds, resizing, misuse. */
#include "base/conf.h"
#include "heap_check.h"
#include "os/os.h"
#include "unit.h"

static struct span *span_of(const void *block)
{
	struct span *span = span_or_null(near__pagemap_span((uintptr_t)block));

	cr_assert_not_null(span);
	cr_assert_eq(span->start, (uintptr_t)block);
	return span;
}

static char *alloc(size_t size, size_t align)
{
	bool zeroed;
	char *block = near__large_alloc(size, align, 0, &zeroed);

	cr_assert_not_null(block);
	cr_assert_eq((uintptr_t)block % size_max(align, MAP_PAGE), 0);
	cr_assert_geq(span_of(block)->bytes, size);
	cr_assert_eq(pagemap_slot((uintptr_t)block), 0);
	for (size_t i = 0; zeroed && i < size; i += 512)
		cr_assert_eq(block[i], 0);
	memset(block, 0x77, size_min(size, 3 * MIB));
	block[size - 1] = 0x77;
	return block;
}

static bool release(const void *block)
{
	uint32_t index = near__pagemap_span((uintptr_t)block);

	return index && near__large_free(pool_record(&near__spans, index), index);
}

static char *resize(const char *block, size_t size)
{
	return near__large_resize(span_of(block), near__pagemap_span((uintptr_t)block), size);
}

static void expect_right(void)
{
	const char *wrong = heap_wrong(0, true);

	cr_assert_null(wrong, "%s", wrong);
}

static struct extent_list *extents(void)
{
	return &near__heap[0]->extents;
}

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
	bool zeroed;

	cr_assert_null(near__large_alloc((size_t)PTRDIFF_MAX - MIB, 16, 0, &zeroed));
	cr_assert_null(near__large_alloc(SIZE_MAX, 16, 0, &zeroed));
	cr_assert_null(near__large_alloc(2 * MIB, (size_t)1 << 62, 0, &zeroed));
	expect_right();
}

/* ---- extents -------------------------------------------------------------------------------------- */

Test(extents, the_best_fit_is_taken)
{
	char *a = alloc(20 * MIB, 16), *b = alloc(17 * MIB, 16), *c = alloc(18 * MIB, 16);

	cr_assert(release(a) && release(b) && release(c));
	cr_assert_eq(extents()->count, 3);
	cr_assert_eq(extents()->bytes, 55 * MIB);
	cr_assert_eq(alloc(17 * MIB + 5, 16), c);
	cr_assert_eq(alloc(17 * MIB, 16), b);
	cr_assert_eq(extents()->count, 1);
	cr_assert_neq(alloc(17 * MIB, 16), a, "20 MiB would waste more than an eighth");
	cr_assert_eq(alloc(19 * MIB, 16), a);
	expect_right();
}

Test(extents, kept_ones_are_aligned_as_asked)
{
	char *block = alloc(4 * MIB, 16), *aligned;

	cr_assert(release(block));
	aligned = alloc(4 * MIB, 32 * MIB);
	cr_assert(((uintptr_t)block % (32 * MIB) == 0) == (aligned == block));
}

Test(extents, are_bounded_in_bytes_oldest_first)
{
	char *blocks[12];

	near__conf.extent_cache = 16 * MIB;
	for (int i = 0; i < 12; i++)
		blocks[i] = alloc(2 * MIB, 16);
	for (int i = 0; i < 12; i++) {
		cr_assert(release(blocks[i]));
		cr_assert_leq(extents()->bytes, 16 * MIB);
		expect_right();
	}
	cr_assert_eq(extents()->count, 8);
	cr_assert_eq(span_or_null(extents()->last)->start, (uintptr_t)blocks[4], "0 to 3 went");
	cr_assert_eq(near__extent_trim(0, 6 * MIB, true), 10 * MIB);
	cr_assert_eq(extents()->count, 3);
	cr_assert_eq(near__extent_trim(0, 0, true), 6 * MIB);
	cr_assert_eq(near__extent_trim(0, 0, true), 0);
	expect_right();
}

Test(extents, one_larger_than_the_bound_is_unmapped)
{
	char *block;

	near__conf.extent_cache = 4 * MIB;
	block = alloc(5 * MIB, 16);
	cr_assert(release(block));
	cr_assert_eq(extents()->count, 0);
	expect_right();
}

Test(extents, are_bounded_in_number)
{
	static char *blocks[300];

	near__conf.extent_cache = GIB;
	for (size_t i = 0; i < ARRAY_LEN(blocks); i++) {
		bool zeroed;

		blocks[i] = near__large_alloc(RUN_LARGEST + 1, 16, 0, &zeroed);
	}
	for (size_t i = 0; i < ARRAY_LEN(blocks); i++)
		cr_assert(release(blocks[i]));
	cr_assert_eq(extents()->count, 256);
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
