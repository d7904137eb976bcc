/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* heap/huge: which chunks get huge pages, and when they lose them. */
#include <stdio.h>

#include "base/conf.h"
#include "blocks.h"
#include "heap/huge.h"
#include "heap/limit.h"
#include "heap/purge.h"
#include "heap/retain.h"

enum { CHUNKS = 21, FEW = 9, BLOCK = CHUNK_BYTES / 2, QUICK = 100000, SLOW = 1000000, NONE = 1000 };

static char *blocks[2 * CHUNKS];

/* The kernel may have none to give. */
static void start(size_t least)
{
	void *memory = near__os_map(CHUNK_BYTES, CHUNK_BYTES);

	if (near__os_huge(memory, CHUNK_BYTES, true))
		cr_skip_test("no huge pages here");
	near__os_unmap(memory, CHUNK_BYTES);
	near__huge_least = least;
}

static struct chunk *chunk_of(unsigned i)
{
	return chunk_or_null(span_of(blocks[2 * i])->chunk);
}

/* What the kernel was told last of a chunk. */
static bool is_advised(unsigned i, const char *flag)
{
	uintptr_t base = chunk_of(i)->base, from, to;
	FILE *smaps = fopen("/proc/self/smaps", "r");
	char line[512];
	bool inside = false, found = false;

	while (fgets(line, sizeof(line), smaps)) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			inside = from <= base && base < to;
		else if (inside && strstr(line, "VmFlags:"))
			found = strstr(line, flag);
	}
	fclose(smaps);
	return found;
}

static bool is_huge(unsigned i)
{
	cr_assert_eq(chunk_is_huge(chunk_of(i)), is_advised(i, " hg"));
	return chunk_is_huge(chunk_of(i));
}

/* The two blocks of a chunk, of whose pages `touched` of each `of` are written to. */
static void fill(unsigned i, unsigned touched, unsigned of)
{
	near__huge_note(QUICK); /* whatever those before took */
	for (unsigned b = 2 * i; b < 2 * i + 2; b++) {
		bool zeroed = false;

		blocks[b] = near__large_alloc(BLOCK, 16, 0, &zeroed);
		cr_assert_not_null(blocks[b]);
		for (size_t page = 0; page < BLOCK / MAP_PAGE; page++) {
			if (page % of < touched)
				blocks[b][page * MAP_PAGE] = 1;
		}
	}
	cr_assert_eq(span_of(blocks[2 * i])->chunk, span_of(blocks[2 * i + 1])->chunk);
}

/* The second of two full chunks has one. */
static struct chunk *one_huge(void)
{
	start(0);
	fill(0, 1, 1);
	fill(1, 1, 1);
	cr_assert(is_huge(1));
	return chunk_of(1);
}

/* All of it is given back. */
static void purge_whole(void)
{
	cr_assert(release(blocks[2]) && release(blocks[3]));
	cr_assert_eq(near__chunk_purge(0, 0, SIZE_MAX, false), CHUNK_BYTES);
}

/* Whether it is known to be zero. */
static bool take_half(unsigned block)
{
	bool zeroed = false;

	blocks[block] = near__large_alloc(BLOCK, 16, 0, &zeroed);
	cr_assert_not_null(blocks[block]);
	return zeroed;
}

/* ---- which ------------------------------------------------------------------------------------------- */

Test(huge, chunks_of_large_heaps)
{
	start(4 * CHUNK_BYTES);
	for (unsigned i = 0; i < FEW; i++) {
		fill(i, 1, 1);
		cr_assert_eq(is_huge(i), i >= 4, "chunk %u", i);
	}
	expect_right();
}

/* Not the one just before, which is being filled. */
Test(huge, if_the_fourth_chunk_before_is_touched)
{
	start(4 * CHUNK_BYTES);
	for (unsigned i = 0; i < FEW; i++) {
		fill(i, i != 2, 1);
		cr_assert_eq(is_huge(i), i >= 4 && i != 6, "chunk %u", i);
	}
}

/* All of the others is resident. */
Test(huge, if_the_last_that_has_none_is_touched)
{
	start(0);
	for (unsigned i = 0; i < FEW; i++) {
		fill(i, i < 1, 1);
		cr_assert_eq(is_huge(i), i > 0, "chunk %u", i);
	}
}

Test(huge, some_in_a_row_and_then_small_ones)
{
	start(4 * CHUNK_BYTES);
	for (unsigned i = 0; i < CHUNKS; i++) {
		fill(i, 1, 1);
		cr_assert_eq(is_huge(i), (i >= 4 && i < 16) || i >= 20, "chunk %u", i);
	}
}

Test(huge, if_seven_of_eight_pages_are_touched)
{
	start(4 * CHUNK_BYTES);
	for (unsigned i = 0; i < 4; i++)
		fill(i, i == 0 ? 7 : 6, i == 0 ? 8 : 7);
	fill(4, 1, 1);
	cr_assert(is_huge(4));
	fill(5, 1, 1);
	cr_assert_not(is_huge(5));
}

Test(huge, if_three_quarters_are_in_use)
{
	start(3 * CHUNK_BYTES);
	for (unsigned i = 0; i < 4; i++)
		fill(i, 1, 1);
	cr_assert_eq(resize(blocks[0], BLOCK / 2), blocks[0]);
	cr_assert_eq(resize(blocks[2], BLOCK / 2 - MAP_PAGE), blocks[2]);
	fill(4, 1, 1);
	cr_assert(is_huge(4));
	fill(5, 1, 1);
	cr_assert_not(is_huge(5));
}

/* How many chunks get none until one does. */
static unsigned pause_of(struct chunk chunk)
{
	unsigned n = 0;

	for (chunk.huge = CHUNK_SMALL; !chunk_is_huge(&chunk); n++)
		near__huge_wish(&near__heap[0]->chunks, &chunk);
	return n - 1;
}

static unsigned pause_after(uint64_t ns)
{
	near__huge_note(ns);
	return pause_of(*chunk_of(1));
}

Test(huge, a_sparse_heap_is_not_asked_each_time)
{
	start(0);
	fill(0, 0, 1);
	fill(1, 1, 1);
	cr_assert_not(is_huge(1));
	memset(blocks[0], 1, BLOCK);
	memset(blocks[1], 1, BLOCK);
	cr_assert_eq(pause_of(*chunk_of(1)), 8);
}

Test(huge, few_where_they_do_not_come_quickly)
{
	one_huge();
	cr_assert_eq(pause_after(QUICK), 0);
	cr_assert_eq(pause_after(SLOW), 32);
	cr_assert_eq(pause_after(SLOW), 64);
	cr_assert_eq(pause_after(NONE), 128, "the kernel had none");
	cr_assert_eq(pause_after(QUICK), 0);
	cr_assert_eq(pause_after(SLOW), 32);
	for (unsigned i = 0; i < 12; i++)
		near__huge_note(SLOW);
	cr_assert_eq(pause_after(SLOW), 1024);
}

Test(huge, none_if_they_are_not_wanted)
{
	start(0);
	near__conf.thp = CONF_THP_NEVER;
	for (unsigned i = 0; i < FEW; i++) {
		fill(i, 1, 1);
		cr_assert_not(is_huge(i));
	}
}

Test(huge, none_if_pages_are_claimed_one_by_one)
{
	start(0);
	near__topology.strict = true;
	for (unsigned i = 0; i < FEW; i++) {
		fill(i, 1, 1);
		cr_assert_not(is_huge(i));
	}
}

Test(huge, none_if_a_limit_is_near_or_nothing_may_stay)
{
	one_huge();
	near__conf.limit_hard = near__limit_footprint() + CHUNK_BYTES;
	fill(2, 1, 1);
	cr_assert_not(is_huge(2));
	near__conf.limit_hard = 0;
	near__conf.decay_ms = 0;
	fill(3, 1, 1);
	cr_assert_not(is_huge(3));
	near__conf.decay_ms = 1;
	fill(4, 1, 1);
	cr_assert(is_huge(4));
}

/* It was purged whole, and comes back while new ones are slow. */
Test(huge, an_old_one_comes_back_small_if_they_are_slow)
{
	const struct chunk *chunk = one_huge();

	purge_whole();
	near__huge_note(SLOW);
	cr_assert(take_half(2));
	cr_assert_eq(chunk_of(1), chunk);
	cr_assert_not(is_huge(1));
	cr_assert(is_advised(1, " nh"));
	cr_assert_eq(near__heap[0]->chunks.dirty_free, 0, "only what is taken of it is there");
	expect_right();
}

/* The kernel puts it there when it has zeroed it; what is purged before that would not go. */
Test(huge, nothing_goes_while_it_is_touched)
{
	struct chunk *chunk = one_huge();

	cr_assert(release(blocks[3]));
	chunk->touching = true;
	cr_assert_eq(near__chunk_purge(0, 0, SIZE_MAX, true), 0);
	cr_assert(is_huge(1));
	near__heap_after_fork();
	cr_assert_eq(near__chunk_purge(0, 0, SIZE_MAX, true), (size_t)BLOCK);
	cr_assert_not(is_huge(1));
	expect_right();
}

/* ---- how long ---------------------------------------------------------------------------------------- */

/* The first touch makes all of it resident: so what is free there is counted as dirty. */
Test(huge, they_are_there_at_once)
{
	const struct chunk_heap *heap = &near__heap[0]->chunks;

	one_huge();
	cr_assert_eq(heap->dirty_free, 0);
	for (unsigned round = 0; round < 2; round++) {
		purge_whole();
		cr_assert_not(take_half(2));
		cr_assert_eq(heap->dirty_free, BLOCK);
		cr_assert_not(take_half(3));
		cr_assert_eq(heap->dirty_free, 0);
	}
	expect_right();
}

Test(huge, parts_of_them_stay_until_they_must_go)
{
	one_huge();
	cr_assert(release(blocks[3]));
	cr_assert_eq(near__chunk_purge(0, 0, SIZE_MAX, false), 0);
	cr_assert(is_huge(1));
	cr_assert_eq(near__chunk_purge(0, 0, SIZE_MAX, true), (size_t)BLOCK);
	cr_assert_not(is_huge(1));
	cr_assert(is_advised(1, " nh"), "or the kernel would fill the hole");
	cr_assert_eq(blocks[2][0], 1);
	expect_right();
}

Test(huge, whole_ones_go_and_stay_huge)
{
	const struct chunk *chunk = one_huge();

	purge_whole();
	cr_assert(chunk_is_huge(chunk));
	fill(1, 1, 1);
	cr_assert_eq(chunk_of(1), chunk);
	cr_assert(is_huge(1));
	expect_right();
}
