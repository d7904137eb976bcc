/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* Memory that must lie on its node (numa_strict): how it is made sure of, and what is left where that fails. */
#include <errno.h>

#include "bound.h"
#include "keep/trim.h"
#include "malloc/malloc.h"

#if NEAR_WITH_NUMA

/* The two calls of a claim, with the pages made resident between them. */
static void expect_claim(unsigned i, uintptr_t start, size_t bytes, unsigned node)
{
	cr_assert(binding_is(i, start, bytes, MPOL_PREFERRED, node, 0),
		  "first, so that a fault finds memory somewhere");
	cr_assert(binding_is(i + 1, start, bytes, MPOL_BIND, node, MPOL_MF_STRICT));
	cr_assert(bindings[i + 1].resident);
}

Test(claim, of_what_is_not_strict_is_nothing)
{
	void *page;

	start(false);
	page = near__os_map(near__os_page_size, near__os_page_size);
	bindings_made = 0;
	cr_assert_eq(near__numa_claim(page, near__os_page_size, 1), 0);
	cr_assert_eq(bindings_made, 0);
	cr_assert_not(is_resident((uintptr_t)page, near__os_page_size));
}

Test(claim, prefers_populates_and_binds)
{
	char *run, *mapping;
	void *object;
	unsigned at;

	start(true);
	at = bindings_made;
	run = large(300 * KIB, 1);
	while (at < bindings_made && bindings[at].start != (uintptr_t)run)
		at++;
	if (bindings[at].bytes != 300 * KIB) /* the region begins there */
		at++;
	while (at < bindings_made && bindings[at].start != (uintptr_t)run)
		at++;
	expect_claim(at, (uintptr_t)run, 300 * KIB, SECOND);
	cr_assert_eq(bindings_made, at + 2);

	mapping = large(3 * MIB, 0);
	expect_claim(bindings_made - 2, (uintptr_t)mapping, 3 * MIB, FIRST);

	cr_assert_eq(near__span_take(1, class_of(64), &object, 1), 1);
	expect_claim(bindings_made - 2, span_at(object)->start, span_at(object)->bytes, SECOND);
	expect_right();
}

/* Its spans are handed out from later, and what lies between their objects was never touched. */
Test(claim, what_was_made_before_is_resident)
{
	char *object, *run, *mapping;

	cr_assert_eq(near__span_take(0, class_of(1024), (void **)&object, 1), 1);
	run = large(300 * KIB, 0);
	mapping = large(3 * MIB, 0);
	strcpy(object, "still there");
	start(true);
	cr_assert_not(is_resident(span_at(object)->start, span_at(object)->bytes));
	near__heap_populate(0);
	cr_assert(is_resident(span_at(object)->start, span_at(object)->bytes));
	cr_assert(is_resident((uintptr_t)run, 300 * KIB) && is_resident((uintptr_t)mapping, 3 * MIB));
	cr_assert_str_eq(object, "still there");
}

/* Only where some of it came from elsewhere, for it disturbs all CPUs. */
Test(claim, what_lies_elsewhere_is_moved)
{
	char *block;

	start(true);
	strict_answer = EIO;
	block = large(3 * MIB, 0);
	expect_claim(bindings_made - 3, (uintptr_t)block, 3 * MIB, FIRST);
	cr_assert(binding_is(bindings_made - 1, (uintptr_t)block, 3 * MIB, MPOL_BIND, FIRST,
			     MPOL_MF_MOVE | MPOL_MF_STRICT));
	expect_right();
}

Test(claim, what_is_refused_otherwise_is_not_moved)
{
	start(true);
	strict_answer = ENOMEM;
	bindings_made = 0;
	cr_assert_null(large(3 * MIB, 0));
	for (unsigned i = 0; i < bindings_made; i++)
		cr_assert_not(bindings[i].flags & MPOL_MF_MOVE);
}

enum { PIECE = 16 << 20 };

/* A wish beyond the node's memory must not use up that of all others first. */
Test(claim, large_ones_go_piece_by_piece)
{
	uintptr_t block;

	start(true);
	bindings_made = 0;
	block = (uintptr_t)large(2 * PIECE + MIB, 1);
	cr_assert_eq(bindings_made, 7, "and once to begin with");
	expect_claim(1, block, PIECE, SECOND);
	expect_claim(3, block + PIECE, PIECE, SECOND);
	expect_claim(5, block + 2 * PIECE, MIB, SECOND);
	expect_right();
}

static uintptr_t room_until;

static int no_room_there(void *start, size_t bytes, int policy, unsigned node, unsigned flags)
{
	record_binding(start, bytes, policy, node, flags);
	room_until = room_until ? room_until : (uintptr_t)start + 2 * PIECE;
	return policy == MPOL_BIND && (uintptr_t)start + bytes > room_until ? EIO : 0;
}

Test(claim, the_first_piece_without_room_is_the_last)
{
	start(true);
	near__numa_mbind = no_room_there;
	bindings_made = 0;
	cr_assert_null(large(6 * PIECE, 1));
	cr_assert_leq(bindings_made, 1 + 2 + 2 + 3);
	cr_assert(unit_is_unmapped((void *)bindings[1].start, 6 * PIECE));
	expect_right();
}

Test(claim, only_what_was_given_back_is_claimed_again)
{
	char *run, *again;
	unsigned before;

	start(true);
	run = large(300 * KIB, 1);
	cr_assert(release(run));
	before = bindings_made;
	again = large(300 * KIB, 1);
	cr_assert_eq(again, run);
	cr_assert_eq(bindings_made, before, "it is resident, and bound");
	again = resize(run, 200 * KIB);
	again = resize(again, 300 * KIB);
	cr_assert_eq(again, run);
	cr_assert_eq(bindings_made, before);
	again = resize(run, 400 * KIB);
	cr_assert_eq(again, run);
	expect_claim(before, (uintptr_t)run + 300 * KIB, 100 * KIB, SECOND);
	cr_assert_eq(bindings_made, before + 2);
	cr_assert(release(run));
	near__chunk_purge(1, 0, SIZE_MAX, true);
	before = bindings_made;
	again = large(300 * KIB, 1);
	cr_assert_eq(again, run);
	expect_claim(before, (uintptr_t)run, 300 * KIB, SECOND);
	expect_right();
}

Test(claim, growth_of_a_mapping_is_claimed)
{
	char *block, *moved;
	unsigned before;

	start(true);
	block = large(8 * MIB, 1);
	moved = resize(block, 4 * MIB);
	cr_assert_eq(moved, block);
	before = bindings_made;
	moved = resize(block, 6 * MIB); /* there is room behind it */
	cr_assert_eq(moved, block);
	expect_claim(before, (uintptr_t)block + 4 * MIB, 2 * MIB, SECOND);
	cr_assert_eq(bindings_made, before + 2);
	expect_right();
}

/* Nobody would claim what is handed out again from a purged span. */
Test(claim, spans_in_use_are_not_purged)
{
	static void *objects[64];
	unsigned class = class_of(1024), n = near__class[class].objects;

	start(true);
	cr_assert_leq(n, ARRAY_LEN(objects));
	cr_assert_eq(near__span_take(1, class, objects + n - 1, n), n);
	cr_assert_eq(near__span_give(class, objects, n - 1, "free"), n - 1);
	cr_assert_eq(unit_span_trim(1), 0);
	cr_assert(is_resident(span_at(objects[n - 1])->start, span_at(objects[n - 1])->bytes));
	near__topology.strict = false;
	cr_assert_gt(unit_span_trim(1), 0, "otherwise they are");
}

/* ---- what cannot be claimed ------------------------------------------------------------------------- */

static uint32_t records(const struct pool *pool)
{
	uint32_t n = 0;

	for (uint32_t i = 1; i < near__pool_end(pool); i++)
		n += near__pool_peek(pool, i) != NULL;
	return n;
}

static void expect_nothing_in_use(void)
{
	for (uint32_t i = 1; i < near__pool_end(&near__spans); i++)
		cr_assert(!span_or_null(i) || span_or_null(i)->state == SPAN_UNUSED, "span %u", i);
	expect_right();
}

Test(claim_refused, a_run_goes_back_as_it_was)
{
	struct chunk_heap *chunks;
	struct span span = {.node = 1, .bytes = 64 * MAP_PAGE};
	bool zeroed = false;

	start(true);
	chunks = &near__heap[1]->chunks;
	bind_answer = EIO;
	for (unsigned i = 0; i < 600; i++) { /* more pages than a chunk has */
		cr_assert_not(near__chunk_take(&span, MAP_PAGE, SPAN_RUN, &zeroed));
		cr_assert_eq(span.state, SPAN_UNUSED);
	}
	cr_assert_eq(chunks->dirty_free, 0);
	cr_assert_not(is_resident(bindings[bindings_made - 1].start, near__os_page_size), "the memory went back");
	cr_assert_eq(records(&near__chunks), 1);
	expect_nothing_in_use();
	bind_answer = 0;
	cr_assert(near__chunk_take(&span, MAP_PAGE, SPAN_RUN, &zeroed));
	cr_assert(zeroed);
	cr_assert_eq(span.start, chunk_or_null(span.chunk)->base, "the first pages, as ever");
	cr_assert_eq(chunk_or_null(span.chunk)->free, CHUNK_PAGES - 64);
}

/* Some of its pages were dirty before, and are no longer; so what it reads is known. */
Test(claim_refused, a_partly_dirty_run_is_clean_afterwards)
{
	struct chunk_heap *chunks;
	char *run, *next;
	bool zeroed = false;

	start(true);
	chunks = &near__heap[0]->chunks;
	run = large(256 * KIB, 0);
	memset(run, 0x5a, 256 * KIB);
	cr_assert(release(run));
	cr_assert_eq(chunks->dirty_free, 256 * KIB);
	bind_answer = EIO;
	cr_assert_null(large(512 * KIB, 0));
	cr_assert_eq(chunks->dirty_free, 0);
	expect_nothing_in_use();
	bind_answer = 0;
	next = near__large_alloc(512 * KIB, 16, 0, &zeroed);
	cr_assert_eq(next, run);
	for (size_t i = 0; zeroed && i < 512 * KIB; i++)
		cr_assert_eq(next[i], 0);
	expect_right();
}

/* Locked pages stay what they are: they cannot be purged, and what they hold is not zeros. */
Test(claim_refused, a_locked_run_stays_dirty)
{
	char *run, *next;
	bool zeroed = false;

	start(true);
	run = large(256 * KIB, 0);
	memset(run, 0x5a, 256 * KIB);
	if (mlock(run, 256 * KIB))
		cr_skip_test("no memory may be locked");
	cr_assert(release(run));
	bind_answer = EIO;
	cr_assert_null(large(512 * KIB, 0));
	expect_nothing_in_use();
	bind_answer = 0;
	next = near__large_alloc(256 * KIB, 16, 0, &zeroed);
	cr_assert_eq(next, run);
	for (size_t i = 0; zeroed && i < 256 * KIB; i++)
		cr_assert_eq(next[i], 0, "said to read as zero");
}

/* Dirty and clean ones together, with many dirty pages elsewhere. */
Test(claim_refused, pages_are_counted_once)
{
	static char *runs[4 * 32];
	struct chunk_heap *chunks;
	char *run;

	start(true);
	chunks = &near__heap[0]->chunks;
	for (unsigned i = 0; i < ARRAY_LEN(runs); i++)
		runs[i] = large(512 * KIB, 0);
	run = large(256 * KIB, 0);
	for (unsigned i = 0; i < ARRAY_LEN(runs); i += 2) /* no two neighbours */
		cr_assert(release(runs[i]));
	cr_assert(release(run));
	cr_assert_eq(chunks->dirty_free, 32 * MIB + 256 * KIB);
	run = large(128 * KIB, 0);
	cr_assert(release(run));
	cr_assert_eq(chunks->dirty_free, 32 * MIB + 256 * KIB);
	bind_answer = EIO;
	for (unsigned i = 0; i < 5; i++) {
		cr_assert_null(large(MIB, 0));
		expect_right();
	}
	cr_assert_eq(chunks->dirty_free, 32 * MIB, "what followed the last run was purged with it");
	for (unsigned i = 1; i < ARRAY_LEN(runs); i += 2)
		cr_assert(release(runs[i]));
	near__chunk_purge(0, 0, SIZE_MAX, true);
	cr_assert_eq(chunks->dirty_free, 0);
	expect_nothing_in_use();
}

Test(claim_refused, a_large_block_is_not_had_and_nothing_leaks)
{
	uint32_t spans, chunks;

	start(true);
	cr_assert(release(large(700 * KIB, 1)));
	spans = records(&near__spans);
	chunks = records(&near__chunks);
	bind_answer = EIO;
	for (unsigned i = 0; i < 500; i++) {
		uintptr_t start;

		cr_assert_null(large(RUN_LARGEST, 1));
		start = bindings[bindings_made - 1].start;
		cr_assert(unit_is_unmapped((void *)start, RUN_LARGEST), "the mapping that was tried next");
		cr_assert_null(large(3 * MIB, 1));
		start = bindings[bindings_made - 1].start;
		cr_assert(unit_is_unmapped((void *)start, 3 * MIB));
		bindings_made = 0;
	}
	cr_assert_eq(records(&near__spans), spans);
	cr_assert_eq(records(&near__chunks), chunks);
	expect_nothing_in_use();
	bind_answer = 0;
	cr_assert_eq(span_at(large(RUN_LARGEST, 1))->state, SPAN_RUN);
	cr_assert_eq(span_at(large(3 * MIB, 1))->state, SPAN_MAPPED);
	expect_right();
}

static int run_refused(void *start, size_t bytes, int policy, unsigned node, unsigned flags)
{
	record_binding(start, bytes, policy, node, flags);
	return policy == MPOL_BIND && region_of(1) && (uintptr_t)start - region_of(1)->base < region_of(1)->bytes ? EIO
														  : 0;
}

/* The pages of a run lie elsewhere, those of a fresh mapping do not. */
Test(claim_refused, a_mapping_for_a_run_is_no_part_of_a_chunk)
{
	struct chunk_heap *chunks;
	char *block, *moved;

	start(true);
	near__numa_mbind = run_refused;
	chunks = &near__heap[1]->chunks;
	block = large(512 * KIB, 1);
	cr_assert_not_null(block);
	cr_assert_eq(span_at(block)->state, SPAN_MAPPED);
	cr_assert_eq(span_at(block)->chunk, 0);
	expect_right();
	chunks->lock.word = STRANGER; /* the child of a fork makes its bitmaps from what the spans say */
	near__heap_after_fork();
	expect_right();
	moved = resize(block, 3 * MIB);
	cr_assert(!moved || moved == block);
	cr_assert(release(block));
	expect_right();
}

Test(claim_refused, a_run_does_not_grow)
{
	char *run, *grown;

	start(true);
	run = large(300 * KIB, 1);
	memset(run, 0x33, 300 * KIB);
	bind_answer = EIO;
	for (unsigned i = 0; i < 300; i++) {
		grown = resize(run, 900 * KIB);
		cr_assert_null(grown);
		cr_assert_eq(span_at(run)->bytes, 300 * KIB);
		expect_right();
	}
	grown = resize(run, 200 * KIB);
	cr_assert_eq(grown, run, "shrinking asks nobody");
	grown = resize(run, 300 * KIB);
	cr_assert_eq(grown, run, "nor does taking back what is there still");
	for (size_t i = 0; i < 200 * KIB; i++)
		cr_assert_eq(run[i], 0x33);
	bind_answer = 0;
	grown = resize(run, 900 * KIB);
	cr_assert_eq(grown, run);
	expect_right();
}

Test(claim_refused, a_mapping_does_not_grow)
{
	char *block, *grown;

	start(true);
	block = large(8 * MIB, 1);
	grown = resize(block, 4 * MIB);
	cr_assert_eq(grown, block);
	memset(block, 0x44, 4 * MIB);
	bind_answer = EIO;
	for (unsigned i = 0; i < 100; i++) {
		grown = resize(block, 8 * MIB);
		cr_assert_null(grown);
		cr_assert_eq(span_at(block)->bytes, 4 * MIB);
		cr_assert_eq(span_at(block)->start, (uintptr_t)block);
		cr_assert(unit_is_unmapped(block + 4 * MIB, 4 * MIB));
	}
	for (size_t i = 0; i < 4 * MIB; i++)
		cr_assert_eq(block[i], 0x44);
	expect_right();
	bind_answer = 0;
	grown = resize(block, 8 * MIB);
	cr_assert_eq(grown, block);
	cr_assert(release(block));
	expect_right();
}

Test(claim_refused, no_preference_no_claim)
{
	start(true);
	prefer_answer = ENOMEM;
	bindings_made = 0;
	cr_assert_null(large(3 * MIB, 1));
	for (unsigned i = 0; i < bindings_made; i++)
		cr_assert_eq(bindings[i].policy, MPOL_PREFERRED, "not bound without");
	prefer_answer = 0;
	cr_assert_not_null(large(3 * MIB, 1));
}

/* All the way: neither an object nor a block, from no other node, and no memory is the answer. */
static void expect_nothing_for(unsigned node)
{
	static const size_t sizes[] = {1, 64, 1000, 40000, 256 * KIB, 300 * KIB, 2 * MIB};
	bool zeroed = false;

	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		errno = 0;
		cr_assert_null(near__alloc((struct request){.size = sizes[i], .node = (int)node}, &zeroed));
		cr_assert_eq(errno, ENOMEM);
		expect_right();
	}
}

TEST_IN_BOTH_MODES(claim_refused, malloc_says_so_and_recovers)
{
	uint32_t spans;
	void *object;
	bool zeroed = false;

	start(true);
	bind_answer = EIO;
	expect_nothing_for(1);
	spans = records(&near__spans);
	for (unsigned i = 0; i < 50; i++) {
		bindings_made = 0;
		expect_nothing_for(i % 2);
	}
	cr_assert_leq(records(&near__spans), spans + 8);
	bind_answer = 0;
	for (size_t size = 1; size < 4 * MIB; size = size * 3 + 1) {
		object = near__alloc((struct request){.size = size, .node = 1}, &zeroed);
		cr_assert_not_null(object);
		cr_assert_eq(near__home_of(object), 1);
		near__free_slow(object, "free");
	}
	near__trim(0);
	expect_nothing_in_use();
}

#endif
