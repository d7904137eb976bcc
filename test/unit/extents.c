/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* heap/extent: kept mappings: best fit, splitting, coalescing, bounds, and what cannot be unmapped. */
#include <sys/mman.h>

#include "blocks.h"
#include "heap/limit.h"
#include "refuse.h"

enum { PIECE = 64 << 10 };

/*
 * Blocks that are no neighbours of each other, with one in use between each two: pieces of what was kept of one block,
 * for the kernel may place two mappings anywhere.
 */
static void alloc_apart(char **blocks, const size_t *sizes, unsigned n)
{
	size_t all = 2 * MIB;

	for (unsigned i = 0; i < n; i++)
		all += sizes[i] + 2 * MIB;
	near__conf.extent_cache += all;
	cr_assert(release(alloc(all, 16)));
	alloc(2 * MIB, 16);
	for (unsigned i = 0; i < n; i++) {
		blocks[i] = alloc(sizes[i], 16);
		alloc(2 * MIB, 16);
	}
	near__conf.extent_cache -= all;
	cr_assert_eq(extents()->count, 0);
}

/* n blocks of the same size in a row, by address: pieces of what was kept of one block. */
static void alloc_in_a_row(char **blocks, size_t size, unsigned n)
{
	char *whole = alloc(n * size, 16);

	cr_assert(release(whole));
	for (unsigned i = 0; i < n; i++)
		blocks[i] = alloc(size, 16);
	for (unsigned i = 0; i < n; i++)
		cr_assert_eq(blocks[i], whole + i * size);
	cr_assert_eq(extents()->count, 0);
}

static const struct span *only_extent(void)
{
	cr_assert_eq(extents()->count, 1);
	expect_right();
	return span_or_null(extents()->first);
}

static void expect_extent(const char *start, size_t bytes)
{
	for (uint32_t i = extents()->first; i; i = span_or_null(i)->next) {
		if (span_or_null(i)->start == (uintptr_t)start) {
			cr_assert_eq(span_or_null(i)->bytes, bytes);
			return;
		}
	}
	cr_assert_fail("no extent at %p", (void *)start);
}

/* ---- taking ----------------------------------------------------------------------------------------- */

Test(extents, the_best_fit_is_taken)
{
	char *blocks[3];

	alloc_apart(blocks, (size_t[]){20 * MIB, 17 * MIB, 18 * MIB}, 3);
	for (unsigned i = 0; i < 3; i++)
		cr_assert(release(blocks[i]));
	cr_assert_eq(extents()->count, 3);
	cr_assert_eq(extents()->bytes, 55 * MIB);
	cr_assert_eq(alloc(17 * MIB + 5, 16), blocks[2]);
	cr_assert_eq(alloc(17 * MIB, 16), blocks[1]);
	cr_assert_eq(alloc(17 * MIB, 16), blocks[0]);
	expect_right();
}

Test(extents, what_is_too_much_stays)
{
	char *block = alloc(20 * MIB, 16), *first, *second;

	cr_assert(release(block));
	first = alloc(5 * MIB + 100, 16);
	cr_assert_eq(first, block);
	cr_assert_eq(span_of(first)->bytes, 5 * MIB + MAP_PAGE);
	expect_extent(block + 5 * MIB + MAP_PAGE, 15 * MIB - MAP_PAGE);
	second = alloc(6 * MIB, 16);
	cr_assert_eq(second, block + 5 * MIB + MAP_PAGE);
	expect_extent(second + 6 * MIB, 9 * MIB - MAP_PAGE);
	cr_assert_eq(extents()->bytes, 9 * MIB - MAP_PAGE);
	expect_right();
}

/* A little is not worth a record and a mapping. */
Test(extents, a_block_may_be_a_little_larger)
{
	for (size_t size = 2 * MIB; size < 40 * MIB; size += 3 * MIB) {
		for (size_t more = MAP_PAGE; more <= size; more *= 4) {
			char *block = alloc(size + more, 16), *again;
			size_t bytes;

			cr_assert(release(block));
			again = alloc(size, 16);
			bytes = span_of(again)->bytes;
			cr_assert_eq(again, block);
			cr_assert(bytes == size || bytes < size + PIECE, "%zu for %zu", bytes, size);
			cr_assert_eq(extents()->bytes, size + more - bytes);
			expect_right();
			cr_assert(release(again));
			near__extent_trim(0, 0, true);
		}
	}
}

/* The largest that is too small, unless it is less than a quarter; what it held is there still. */
Test(extents, too_small_they_grow)
{
	char *small = alloc(4 * MIB, 16), *wall = alloc(2 * MIB, 16), *large = alloc(6 * MIB, 16), *grown;

	while (large + 6 * MIB == small) /* where the kernel put the wall elsewhere they would become one */
		large = alloc(6 * MIB, 16);
	large[100] = 5;
	cr_assert(release(small) && release(large));
	grown = alloc(9 * MIB, 16);
	cr_assert_eq(extents()->count, 1, "the larger one is used");
	cr_assert_eq(extents()->bytes, 4 * MIB);
	cr_assert_eq(span_of(grown)->bytes, 9 * MIB);
	cr_assert_eq(span_of(grown)->state, SPAN_MAPPED);
	cr_assert_not_null(alloc(17 * MIB, 16));
	cr_assert_eq(extents()->count, 1, "less than a quarter");
	cr_assert(release(grown) && release(wall));
	expect_right();
}

Test(extents, what_grew_holds_what_was_there)
{
	char *block = alloc(4 * MIB, 16), *grown;
	bool zeroed = false;

	for (size_t i = 0; i < 4 * MIB; i += 4096)
		block[i + 8] = (char)(i / 4096 % 100 + 1);
	cr_assert(release(block));
	grown = near__large_alloc(10 * MIB, 16, 0, &zeroed);
	cr_assert_not(zeroed);
	for (size_t i = 0; i < 4 * MIB; i += 4096)
		cr_assert_eq(grown[i + 8], (char)(i / 4096 % 100 + 1));
	for (size_t i = 4 * MIB; i < 10 * MIB; i += 4096)
		cr_assert_eq(grown[i + 8], 0);
	cr_assert(release(grown));
	expect_right();
}

/* Zeros are the kernel's; what moves may lie anywhere; and walkers may be looking. */
Test(extents, do_not_grow_for_everybody)
{
	char *block = alloc(4 * MIB, 16);
	bool zeroed = true, known;

	cr_assert(release(block));
	cr_assert_not_null(near__large_alloc(5 * MIB, 16, 0, &zeroed));
	cr_assert(zeroed);
	cr_assert_not_null(alloc(5 * MIB, 64 << 10));
	cr_assert_eq(extents()->count, 1);
	known = near__walk_begin();
	cr_assert_not_null(alloc(5 * MIB, 16));
	cr_assert_eq(extents()->count, 1);
	near__walk_end(known);
	near__limit_note_mapped(16 * GIB, true);
	cr_assert_not_null(alloc(5 * MIB, 16));
	cr_assert_eq(extents()->count, 1, "too many mappings");
	near__limit_note_mapped(16 * GIB, false);
	cr_assert_not_null(alloc(5 * MIB, 16));
	cr_assert_eq(extents()->count, 0);
	expect_right();
}

/* What the page map named while it was tried is as free as before. */
Test(extents, that_could_not_grow_are_nobody_s)
{
	char *block = alloc(4 * MIB, 16);
	uint32_t index = near__pagemap_span((uintptr_t)block);

	cr_assert(release(block));
	near__conf.limit_hard = near__limit_footprint() + MIB;
	cr_assert_null(near__large_alloc(12 * MIB, 16, 0, &(bool){false}));
	cr_assert_null(near__large_alloc(6 * MIB, 16, 0, &(bool){false}), "what it has already counts");
	near__conf.limit_hard = 0;
	cr_assert_eq(extents()->count, 1);
	cr_assert_eq(((struct span *)pool_record(&near__spans, index))->state, SPAN_EXTENT);
	expect_extent(block, 4 * MIB);
	expect_right();
}

/* Not even for a moment may the page map name what is unmapped. */
Test(extents, that_could_not_grow_leave_no_trace)
{
	char *block = alloc(4 * MIB, 16);

	cr_assert(release(block));
	near__conf.extent_cache = MIB;
	refuse_call_by(SYS_mremap, ENOMEM);
	alloc(6 * MIB, 16);
	cr_assert_eq(extents()->count, 0);
	cr_assert_eq(near__pagemap_span((uintptr_t)block), 0);
	expect_right();
}

/* Parts of it were split from each other (a lock, another policy): the kernel does not move them at once, nor later. */
Test(extents, refused_by_the_kernel_they_stay_as_they_were)
{
	char *block = alloc(4 * MIB, 16), *other = alloc(2 * MIB, 16), *smaller = alloc(3 * MIB, 16);

	cr_assert_eq(mprotect(block + MIB, MIB, PROT_READ), 0);
	cr_assert(release(block));
	other = alloc(5 * MIB, 16);
	cr_assert_eq(extents()->count, 1);
	cr_assert_eq(extents()->bytes, 4 * MIB);
	cr_assert_eq(span_of(other)->bytes, 5 * MIB);
	cr_assert_eq(mprotect(block + MIB, MIB, PROT_READ | PROT_WRITE), 0);
	cr_assert(release(smaller));
	cr_assert_not_null(alloc(5 * MIB, 16));
	cr_assert_eq(extents()->count, 1);
	expect_extent(block, 4 * MIB);
	expect_right();
}

Test(extents, kept_ones_are_aligned_as_asked)
{
	char *block = alloc(4 * MIB, 16), *aligned;

	cr_assert(release(block));
	aligned = alloc(4 * MIB, 32 * MIB);
	cr_assert(((uintptr_t)block % (32 * MIB) == 0) == (aligned == block));
}

Test(extents, are_the_node_s_own)
{
	bool zeroed = false;
	char *block;

	unit_two_nodes();
	block = alloc(4 * MIB, 16);
	cr_assert(release(block));
	cr_assert_neq(near__large_alloc(4 * MIB, 16, 1, &zeroed), block);
	cr_assert_eq(alloc(4 * MIB, 16), block);
}

/* Without a record for the rest all of it is the block's. */
Test(extents, are_whole_where_there_is_no_record)
{
	char *block = alloc(20 * MIB, 16);
	uint32_t segments = near__spans.segments, index;

	cr_assert(release(block));
	index = extents()->first;
	near__spans.segments = POOL_MOST_SEGMENTS;
	while (near__pool_take(&near__spans, 0))
		;
	cr_assert_eq(near__extent_take(0, 5 * MIB, MAP_PAGE), index);
	near__spans.segments = segments;
	cr_assert_eq(span_or_null(index)->bytes, 20 * MIB);
	cr_assert_eq(extents()->count, 0);
}

/* ---- giving ----------------------------------------------------------------------------------------- */

Test(extents, neighbours_become_one)
{
	static const unsigned orders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
	char *blocks[3];

	for (size_t order = 0; order < ARRAY_LEN(orders); order++) {
		alloc_in_a_row(blocks, 2 * MIB, 3);
		for (unsigned i = 0; i < 3; i++) {
			cr_assert(release(blocks[orders[order][i]]));
			expect_right();
		}
		cr_assert_eq(only_extent()->start, (uintptr_t)blocks[0]);
		cr_assert_eq(only_extent()->bytes, 6 * MIB);
		for (size_t at = MAP_PAGE; at < 6 * MIB - MAP_PAGE; at += MAP_PAGE)
			cr_assert_eq(near__pagemap_span((uintptr_t)blocks[0] + at), 0, "only its ends are in the map");
		cr_assert_eq(alloc(6 * MIB, 16), blocks[0], "as large as all three");
	}
}

Test(extents, blocks_in_use_are_no_neighbours)
{
	char *blocks[3];

	alloc_in_a_row(blocks, 2 * MIB, 3);
	cr_assert(release(blocks[0]) && release(blocks[2]));
	cr_assert_eq(extents()->count, 2);
	expect_right();
	memset(blocks[1], 0x11, 2 * MIB);
	near__extent_trim(0, 0, true);
	for (size_t i = 0; i < 2 * MIB; i++)
		cr_assert_eq(blocks[1][i], 0x11);
	expect_right();
}

Test(extents, of_other_nodes_are_no_neighbours)
{
	char *blocks[2];

	unit_two_nodes();
	alloc_in_a_row(blocks, 2 * MIB, 2);
	span_of(blocks[1])->node = 1; /* as if the kernel had put it there */
	cr_assert(release(blocks[0]) && release(blocks[1]));
	cr_assert_eq(extents()->count, 1);
	cr_assert_eq(near__heap[1]->extents.count, 1);
	expect_right();
	cr_assert_null(heap_wrong(1, true));
}

Test(extents, a_piece_comes_home_to_the_rest)
{
	char *block = alloc(20 * MIB, 16), *piece;

	cr_assert(release(block));
	piece = alloc(3 * MIB, 16);
	cr_assert(release(piece));
	cr_assert_eq(only_extent()->start, (uintptr_t)block);
	cr_assert_eq(only_extent()->bytes, 20 * MIB);
}

Test(extents, random_traffic_keeps_all_invariants, .timeout = 60)
{
	static char *held[40];
	static size_t sizes[40];
	uint64_t random = 23;

	near__conf.extent_cache = 100 * MIB;
	for (unsigned round = 0; round < 6000; round++) {
		unsigned slot = (unsigned)(unit_random(&random) % ARRAY_LEN(held));
		uint64_t dice = unit_random(&random) % 8;
		bool zeroed = false;

		if (!held[slot]) {
			sizes[slot] = RUN_LARGEST + 1 + unit_random(&random) % (8 * MIB);
			held[slot] = near__large_alloc(sizes[slot], 16, 0, &zeroed);
			cr_assert_not_null(held[slot]);
			held[slot][0] = held[slot][sizes[slot] - 1] = (char)slot;
			continue;
		}
		cr_assert(held[slot][0] == (char)slot && held[slot][sizes[slot] - 1] == (char)slot);
		if (dice == 0) {
			size_t size = RUN_LARGEST + 1 + unit_random(&random) % (8 * MIB);
			char *moved = resize(held[slot], size);

			if (moved) {
				held[slot] = moved;
				sizes[slot] = size;
				moved[size - 1] = (char)slot;
			}
		} else {
			cr_assert(release(held[slot]));
			held[slot] = NULL;
		}
		if (dice == 1)
			near__extent_trim(0, unit_random(&random) % (64 * MIB), true);
		if (round % 16 == 0)
			expect_right();
	}
	for (unsigned slot = 0; slot < ARRAY_LEN(held); slot++)
		cr_assert(!held[slot] || release(held[slot]));
	expect_right();
	near__extent_trim(0, 0, true);
	cr_assert_eq(extents()->count, 0);
	cr_assert_eq(near__heap_lost, 0);
}

/* ---- bounds ----------------------------------------------------------------------------------------- */

Test(extents, are_bounded_in_bytes_oldest_first)
{
	static size_t sizes[12];
	char *blocks[12];

	near__conf.extent_cache = 16 * MIB;
	for (int i = 0; i < 12; i++)
		sizes[i] = 2 * MIB;
	alloc_apart(blocks, sizes, 12);
	for (int i = 0; i < 12; i++) {
		cr_assert(release(blocks[i]));
		cr_assert_leq(extents()->bytes, 16 * MIB);
		expect_right();
	}
	cr_assert_eq(extents()->count, 8);
	cr_assert_eq(span_or_null(extents()->last)->start, (uintptr_t)blocks[4], "0 to 3 went");
	cr_assert_eq(near__extent_trim(0, 6 * MIB, true), 10 * MIB);
	cr_assert_eq(extents()->count, 3);
	cr_assert_eq(span_or_null(extents()->last)->start, (uintptr_t)blocks[9]);
	cr_assert_eq(near__extent_trim(0, 0, true), 6 * MIB);
	cr_assert_eq(near__extent_trim(0, 0, true), 0);
	expect_right();
}

/* Of the oldest just what is too much goes, from its end, and it is the oldest still. */
/* Mappings that are smaller than a piece come from alignments beyond a chunk's. */
Test(extents, crumbs_go_whole)
{
	char *blocks[4];

	for (unsigned i = 0; i < 4; i++)
		blocks[i] = alloc(MAP_PAGE, 8 * MIB);
	for (unsigned i = 0; i < 4; i++)
		cr_assert(release(blocks[i]));
	cr_assert_eq(extents()->bytes, 4 * MAP_PAGE);
	cr_assert_eq(near__extent_trim(0, 3 * MAP_PAGE + 1, false), MAP_PAGE);
	expect_right();
	cr_assert_eq(near__extent_trim(0, 0, false), 3 * MAP_PAGE);
	cr_assert_eq(extents()->count, 0);
	expect_right();
}

Test(extents, go_in_parts)
{
	char *blocks[2];

	alloc_apart(blocks, (size_t[]){10 * MIB, 6 * MIB}, 2);
	cr_assert(release(blocks[0]) && release(blocks[1]));
	cr_assert_eq(near__extent_trim(0, 13 * MIB, true), 3 * MIB);
	expect_extent(blocks[0], 7 * MIB);
	cr_assert(unit_is_unmapped(blocks[0] + 7 * MIB, 3 * MIB));
	expect_right();
	cr_assert_eq(near__extent_trim(0, 13 * MIB - PIECE, true), PIECE);
	expect_extent(blocks[0], 7 * MIB - PIECE);
	expect_extent(blocks[1], 6 * MIB);
	cr_assert_eq(near__extent_trim(0, 6 * MIB, true), 7 * MIB - PIECE);
	cr_assert_eq(only_extent()->start, (uintptr_t)blocks[1]);
	cr_assert(unit_is_unmapped(blocks[0], 7 * MIB));
}

/* Not less than a piece goes, so that the kernel is not asked for every page; and not the whole for a page. */
Test(extents, go_in_parts_of_some_size)
{
	char *block = alloc(10 * MIB, 16);

	cr_assert(release(block));
	cr_assert_eq(near__extent_trim(0, 10 * MIB - MAP_PAGE, true), PIECE);
	expect_extent(block, 10 * MIB - PIECE);
	expect_right();
}

Test(extents, one_larger_than_the_bound_is_unmapped)
{
	char *block;

	near__conf.extent_cache = 4 * MIB;
	block = alloc(5 * MIB, 16);
	cr_assert(release(block));
	cr_assert_eq(extents()->count, 0);
	cr_assert(unit_is_unmapped(block, 5 * MIB));
	expect_right();
}

/* Neighbours may be together more than the bound, or than one alone. */
Test(extents, neighbours_count_together)
{
	char *blocks[4];

	near__conf.extent_cache = 64 * MIB;
	alloc_in_a_row(blocks, 4 * MIB, 4);
	near__conf.extent_cache = 10 * MIB;
	for (unsigned i = 0; i < 3; i++) {
		cr_assert(release(blocks[i]));
		cr_assert_leq(extents()->bytes, 10 * MIB);
		cr_assert_eq(only_extent()->start, (uintptr_t)blocks[0]);
	}
	cr_assert_eq(only_extent()->bytes, 10 * MIB);
	cr_assert(release(blocks[3]));
	cr_assert_eq(extents()->bytes, 10 * MIB);
	expect_right();
}

Test(extents, are_bounded_in_number)
{
	static char *blocks[600];

	near__conf.extent_cache = GIB;
	for (size_t i = 0; i < ARRAY_LEN(blocks); i++) {
		bool zeroed = false;

		blocks[i] = near__large_alloc(RUN_LARGEST + 1, 16, 0, &zeroed);
	}
	for (size_t i = 0; i < ARRAY_LEN(blocks); i += 2) {
		cr_assert(release(blocks[i]));
		cr_assert_leq(extents()->count, 256);
	}
	cr_assert_eq(extents()->count, 256);
	expect_right();
}

/* ---- what cannot be unmapped ------------------------------------------------------------------------ */

Test(extents, refused_by_the_kernel_they_stay_without_memory)
{
	char *block = alloc(10 * MIB, 16);

	memset(block, 0x22, 10 * MIB);
	refuse_munmap_of(10 * MIB);
	cr_assert(release(block));
	cr_assert_eq(near__extent_trim(0, 0, true), 0);
	cr_assert_eq(only_extent()->bytes, 10 * MIB);
	cr_assert_eq(alloc(10 * MIB, 16), block);
	expect_right();
}

Test(extents, refused_by_the_kernel_a_part_comes_home)
{
	char *block = alloc(10 * MIB, 16);

	cr_assert(release(block));
	block[10 * MIB - 1] = block[0] = 1;
	refuse_munmap_of(3 * MIB);
	cr_assert_eq(near__extent_trim(0, 7 * MIB, true), 0);
	cr_assert_eq(only_extent()->start, (uintptr_t)block);
	cr_assert_eq(only_extent()->bytes, 10 * MIB);
	cr_assert_eq(block[10 * MIB - 1], 0, "its memory went");
	cr_assert_eq(block[0], 1);
}

Test(extents, too_large_to_be_kept_and_refused)
{
	char *block;

	near__conf.extent_cache = 4 * MIB;
	block = alloc(5 * MIB, 16);
	refuse_munmap_of(5 * MIB);
	cr_assert(release(block));
	expect_right();
	cr_assert_eq(near__heap_lost, 0);
	cr_assert_eq(block[0], 0, "mapped, without its memory");
}

/* ---- walkers ---------------------------------------------------------------------------------------- */

/* A mutex of liburcu's may be taken for ever there. */
Test(extents, walkers_of_a_forked_child_leave_liburcu_alone)
{
	bool known = near__walk_begin();

	near__walk_end(known);
	near__walk_after_fork();
	cr_assert_not(near__walk_begin());
	cr_assert_not(near__walk_left());
	near__walk_end(false);
	cr_assert(near__walk_none());
}

Test(extents, stay_mapped_while_somebody_walks)
{
	char *block = alloc(10 * MIB, 16), *large, *moved;
	bool known;

	near__conf.extent_cache = 16 * MIB;
	large = alloc(20 * MIB, 16);
	known = near__walk_begin();
	cr_assert(release(block));
	cr_assert_eq(near__extent_trim(0, 0, false), 0);
	expect_extent(block, 10 * MIB);
	cr_assert(release(large), "beyond the bound");
	cr_assert_eq(large[0], 0x77);
	cr_assert_eq(block[0], 0x77);
	expect_right();
	moved = alloc(40 * MIB, 16);
	cr_assert_null(resize(moved, 50 * MIB), "what moves is unmapped");
	cr_assert_null(resize(moved, 30 * MIB));
	cr_assert_eq(moved[0], 0x77);
	cr_assert_eq(span_of(moved)->state, SPAN_MAPPED);
	near__walk_end(known);
	cr_assert_eq(near__extent_trim(0, 0, false), 30 * MIB);
	expect_right();
}
