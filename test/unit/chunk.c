/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* heap/chunk, heap/region: runs against a shadow bitmap, alignment, zeroes, resizing, purging. */
#include "heap/retain.h"
#include "heap_check.h"
#include "os/os.h"
#include "refuse.h"

enum { RUNS = 400 };

static struct span *runs[RUNS];
static uint32_t run_index[RUNS];

static struct span *take_run(unsigned slot, unsigned pages, unsigned align, bool *zeroed)
{
	uint32_t index = near__pool_take(&near__spans, 0);
	struct span *span = pool_record(&near__spans, index);

	*span = (struct span){.bytes = (size_t)pages * MAP_PAGE};
	cr_assert(near__chunk_take(span, (size_t)align * MAP_PAGE, SPAN_RUN, zeroed));
	cr_assert_eq(span->start % ((size_t)align * MAP_PAGE), 0);
	cr_assert_eq(span->state, SPAN_RUN);
	runs[slot] = span;
	run_index[slot] = index;
	return span;
}

/* All that is in use is resident, so that runs may begin anywhere. */
static void without_grid(void)
{
	near__heap[0]->chunks.sampled = 1;
	cr_assert_eq(near__heap_grid(&near__heap[0]->chunks, CHUNK_BYTES, CHUNK_BYTES), 1);
}

static void give_run(unsigned slot)
{
	near__chunk_give(runs[slot], run_index[slot]);
	cr_assert_eq(runs[slot]->state, SPAN_UNUSED);
	runs[slot] = NULL;
}

static void expect_right(void)
{
	const char *wrong = heap_wrong(0, true);

	cr_assert_null(wrong, "%s", wrong);
}

static unsigned chunks_in_use(void)
{
	unsigned n = 0;

	for (uint32_t i = 1; i < near__pool_end(&near__chunks); i++)
		n += chunk_or_null(i) && chunk_or_null(i)->in_use;
	return n;
}

/* Each page of a run says in its first and last word whose it is. */
static void mark(struct span *span)
{
	for (uintptr_t page = span->start; page < span->start + span->bytes; page += MAP_PAGE) {
		*(uintptr_t *)page = (uintptr_t)span;
		*(uintptr_t *)(page + MAP_PAGE - 8) = page;
	}
}

static void expect_marked(const struct span *span, size_t bytes)
{
	for (uintptr_t page = span->start; page < span->start + bytes; page += MAP_PAGE) {
		cr_assert_eq(*(uintptr_t *)page, (uintptr_t)span);
		cr_assert_eq(*(uintptr_t *)(page + MAP_PAGE - 8), page);
	}
}

static void expect_zero(const struct span *span)
{
	for (uintptr_t word = span->start; word < span->start + span->bytes; word += 8)
		cr_assert_eq(*(uintptr_t *)word, 0);
}

static unsigned random_pages(uint64_t *random)
{
	uint64_t dice = unit_random(random) % 16;

	return 1 + (unsigned)(unit_random(random) % (dice < 10 ? 16 : dice < 15 ? 64 : 256));
}

static void resize_run(unsigned slot, unsigned pages)
{
	struct span *span = runs[slot];
	size_t old = span->bytes, new = (size_t)pages *MAP_PAGE;

	if (new == old)
		return;
	if (near__chunk_resize(span, new)) {
		cr_assert_eq(span->bytes, new);
		expect_marked(span, size_min(old, new));
		mark(span);
	} else {
		cr_assert(new > old && span->bytes == old);
	}
}

Test(chunk, random_runs_against_a_shadow, .timeout = 60)
{
	uint64_t random = 11;

	for (unsigned round = 0; round < 20000; round++) {
		unsigned slot = (unsigned)(unit_random(&random) % RUNS);
		bool zeroed;

		if (!runs[slot]) {
			take_run(slot, random_pages(&random), 1u << unit_random(&random) % (round % 8 ? 3 : 9),
				 &zeroed);
			if (zeroed)
				expect_zero(runs[slot]);
			mark(runs[slot]);
		} else if (unit_random(&random) % 3 == 0) {
			resize_run(slot, random_pages(&random));
		} else {
			expect_marked(runs[slot], runs[slot]->bytes);
			give_run(slot);
		}
		if (round % 256 == 0)
			expect_right();
		if (round % 5000 == 4999)
			near__chunk_purge(0, 0, SIZE_MAX, true);
	}
	for (unsigned slot = 0; slot < RUNS; slot++) {
		if (runs[slot])
			give_run(slot);
	}
	expect_right();
	near__chunk_purge(0, 0, SIZE_MAX, true);
	expect_right();
	cr_assert_eq(near__heap[0]->chunks.dirty_free, 0);
}

Test(chunk, runs_of_every_length_fill_a_chunk)
{
	bool zeroed;

	without_grid();
	for (unsigned pages = 1; pages <= CHUNK_PAGES; pages++) {
		take_run(0, pages, 1, &zeroed);
		if (pages < CHUNK_PAGES) {
			take_run(1, CHUNK_PAGES - pages, 1, &zeroed);
			cr_assert_eq(runs[0]->chunk, runs[1]->chunk, "%u pages left room for the rest", pages);
		}
		expect_right();
		give_run(0);
		if (runs[1])
			give_run(1);
	}
	cr_assert_eq(chunks_in_use(), 1);
}

/* Longer runs begin on the grid, shorter ones fill what is between. */
Test(chunk, longer_runs_begin_on_the_grid)
{
	struct chunk_heap *heap = &near__heap[0]->chunks;
	bool zeroed;

	cr_assert_eq(near__heap_grid(heap, 7 * MAP_PAGE, 7 * MAP_PAGE), 1);
	cr_assert_eq(near__heap_grid(heap, 8 * MAP_PAGE, 8 * MAP_PAGE), GRID_PAGES * MAP_PAGE);
	cr_assert_eq(near__heap_grid(heap, 8 * MAP_PAGE, 2 * MAP_PAGE), GRID_PAGES * MAP_PAGE);
	cr_assert_eq(near__heap_grid(heap, 8 * MAP_PAGE, 2 * MAP_PAGE - 1), 1, "a span of smaller objects");
	for (unsigned i = 0; i < 8; i++) {
		take_run(i, 17 + i, 1, &zeroed);
		cr_assert_eq(runs[i]->start % (GRID_PAGES * MAP_PAGE), 0);
	}
	take_run(8, 6, 1, &zeroed);
	cr_assert_eq(runs[8]->start, runs[0]->start + runs[0]->bytes);
	expect_right();
	heap->sampled = 1;
	heap->used_density = 256;
	take_run(9, 9, 1, &zeroed);
	cr_assert_eq(runs[9]->start, runs[8]->start + runs[8]->bytes, "dense heaps have no grid");
	heap->used_density = 256 / 8 * 5 + 1;
	cr_assert_eq(near__heap_grid(heap, CHUNK_BYTES, CHUNK_BYTES), 1);
	heap->used_density = 256 / 8 * 5;
	cr_assert_eq(near__heap_grid(heap, CHUNK_BYTES, CHUNK_BYTES), GRID_PAGES * MAP_PAGE);
	heap->used_density = 20;
	take_run(10, 9, 1, &zeroed);
	cr_assert_eq(runs[10]->start % (GRID_PAGES * MAP_PAGE), 0);
	expect_right();
}

Test(chunk, whole_chunks_can_be_aligned_to_themselves)
{
	bool zeroed;

	take_run(0, 1, 1, &zeroed);
	take_run(1, CHUNK_PAGES, CHUNK_PAGES, &zeroed);
	cr_assert_neq(runs[0]->chunk, runs[1]->chunk);
	expect_right();
}

Test(chunk, first_fit_in_the_fullest_chunk)
{
	bool zeroed;

	for (unsigned i = 0; i < 8; i++) /* two chunks, four runs each */
		take_run(i, 128, 1, &zeroed);
	cr_assert_eq(chunks_in_use(), 2);
	give_run(1);
	give_run(4);
	give_run(6);
	take_run(8, 100, 1, &zeroed);
	cr_assert_eq(runs[8]->chunk, runs[0]->chunk, "three of four are used there, two of four in the other");
	cr_assert_eq(runs[8]->start, runs[0]->start + 128 * MAP_PAGE);
}

Test(chunk, resize_in_place)
{
	struct span *span;
	bool zeroed;

	without_grid();
	span = take_run(0, 10, 1, &zeroed);
	take_run(1, 10, 1, &zeroed);
	cr_assert_not(near__chunk_resize(span, 11 * MAP_PAGE), "a neighbour is there");
	give_run(1);
	cr_assert(near__chunk_resize(span, 256 * MAP_PAGE));
	expect_right();
	cr_assert(near__chunk_resize(span, 1 * MAP_PAGE));
	expect_right();
	cr_assert_not(near__chunk_resize(span, 513 * MAP_PAGE), "longer than a chunk");
	cr_assert_eq(span->bytes, MAP_PAGE);
	cr_assert(near__chunk_resize(span, 512 * MAP_PAGE));
	expect_right();
}

Test(chunk, purged_pages_read_zero_and_say_so)
{
	bool zeroed;

	take_run(0, 64, 1, &zeroed);
	cr_assert(zeroed);
	mark(runs[0]);
	give_run(0);
	take_run(0, 64, 1, &zeroed);
	cr_assert_not(zeroed);
	give_run(0);
	cr_assert_eq(near__heap[0]->chunks.dirty_free, 64 * MAP_PAGE);
	cr_assert_eq(near__chunk_purge(0, 64 * MAP_PAGE, SIZE_MAX, true), 0, "that much may stay");
	cr_assert_eq(near__chunk_purge(0, 0, SIZE_MAX, true), 64 * MAP_PAGE);
	expect_right();
	take_run(0, 64, 1, &zeroed);
	cr_assert(zeroed);
	expect_zero(runs[0]);
}

Test(chunk, a_thread_that_holds_the_lock_is_refused)
{
	struct lock *lock = &near__heap[0]->chunks.lock;
	struct span other = {.bytes = MAP_PAGE};
	struct span *span;
	bool zeroed;

	span = take_run(0, 3, 1, &zeroed);
	take_run(1, 3, 1, &zeroed);
	cr_assert(lock_acquire(lock));
	cr_assert_not(near__chunk_take(&other, MAP_PAGE, SPAN_RUN, &zeroed));
	cr_assert_not(near__chunk_resize(span, MAP_PAGE));
	cr_assert_eq(near__chunk_purge(0, 0, SIZE_MAX, true), 0);
	near__chunk_give(span, run_index[0]);
	runs[0] = NULL;
	lock_release(lock);
	give_run(1); /* whoever holds the lock next gives back what could not be given */
	cr_assert_null(heap_wrong(0, true));
}

Test(region, chunks_are_carved_from_the_bottom)
{
	struct chunk_heap *heap = &near__heap[0]->chunks;
	uintptr_t last = 0;

	for (int i = 0; i < 32; i++) { /* the first region */
		const struct chunk *chunk = unit_carve(0);

		cr_assert_not_null(chunk);
		cr_assert_eq(chunk->base % CHUNK_BYTES, 0);
		cr_assert_eq(chunk->region, heap->regions);
		cr_assert(!i || chunk->base == last + CHUNK_BYTES);
		last = chunk->base;
		*(char *)last = 1;
		*(char *)(last + CHUNK_BYTES - 1) = 1;
	}
	cr_assert_eq(region_or_null(heap->regions)->next, 0);
	cr_assert_eq(heap->reserved, 64 * MIB);
	cr_assert_not_null(unit_carve(0));
	cr_assert_neq(region_or_null(heap->regions)->next, 0);
	cr_assert_eq(heap->reserved, 128 * MIB);
	for (int i = 0; i < 32; i++)
		cr_assert_not_null(unit_carve(0));
	cr_assert_eq(heap->reserved, 256 * MIB, "regions grow geometrically");
}

/* ---- unmapping that cannot be ------------------------------------------------------------------------ */

enum { CHUNKS_OF_TWO_REGIONS = 34 };

static void use_two_regions(void)
{
	bool zeroed;

	for (unsigned i = 0; i < CHUNKS_OF_TWO_REGIONS; i++) {
		take_run(i, CHUNK_PAGES, 1, &zeroed);
		cr_assert(zeroed);
		memset((void *)runs[i]->start, 0x77, CHUNK_BYTES);
	}
	for (unsigned i = 0; i < CHUNKS_OF_TWO_REGIONS; i++)
		give_run(i);
}

/* Both regions are there, without their memory, and serve again. */
static void expect_two_regions(void)
{
	struct chunk_heap *heap = &near__heap[0]->chunks;
	size_t reserved = heap->reserved;

	cr_assert_null(heap_wrong(0, true));
	cr_assert_eq(reserved, 128 * MIB);
	near__chunk_purge(0, 0, SIZE_MAX, true);
	for (unsigned i = 0; i < CHUNKS_OF_TWO_REGIONS; i++) {
		bool zeroed;

		take_run(i, CHUNK_PAGES, 1, &zeroed);
		cr_assert(zeroed);
		cr_assert_eq(*(char *)runs[i]->start, 0);
	}
	cr_assert_eq(heap->reserved, reserved);
	cr_assert_null(heap_wrong(0, true));
}

Test(region, refused_by_the_kernel_it_stays)
{
	use_two_regions();
	refuse_munmap_of(64 * MIB);
	cr_assert_eq(near__region_release(0, 0, true), 0);
	expect_two_regions();
}

Test(region, stays_while_somebody_walks)
{
	bool known;

	use_two_regions();
	known = near__walk_begin();
	cr_assert_eq(near__region_release(0, 0, false), 0);
	expect_two_regions();
	near__walk_end(known);
}

Test(region, refused_by_the_kernel_a_chunk_stays)
{
	use_two_regions();
	refuse_munmap_of(CHUNK_BYTES);
	near__chunk_release(0);
	expect_two_regions();
}
