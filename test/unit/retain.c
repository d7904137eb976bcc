/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* heap/retain: what samples learn of the pages in use and of the free ones, what is regretted, and what may stay. */
#include "heap/retain.h"

#include "base/conf.h"
#include "blocks.h"
#include "refuse.h"

enum { BLOCKS = 32, BLOCK = 1 << 20, ALL = 256, ENOUGH = 40 };

static char *blocks[BLOCKS];

static struct chunk_heap *chunks(void)
{
	return &near__heap[0]->chunks;
}

static void set_densities(unsigned used, unsigned free)
{
	chunks()->used_density = used;
	chunks()->free_density = free;
}

/* Two blocks fill a chunk; `touched` of each `of` pages are written to. */
static void fill(unsigned touched, unsigned of)
{
	for (unsigned i = 0; i < BLOCKS; i++) {
		bool zeroed = false;

		blocks[i] = near__large_alloc(BLOCK, 16, 0, &zeroed);
		cr_assert_not_null(blocks[i]);
		for (size_t page = 0; page < BLOCK / MAP_PAGE; page++) {
			if (page % of < touched)
				blocks[i][page * MAP_PAGE] = 1;
		}
	}
	cr_assert_eq(near__heap_in_use(chunks()), (size_t)BLOCKS * BLOCK);
}

static void free_all(void)
{
	for (unsigned i = 0; i < BLOCKS; i++)
		cr_assert(release(blocks[i]));
	cr_assert_eq(chunks()->dirty_free, (size_t)BLOCKS * BLOCK);
}

static void sample(unsigned times)
{
	cr_assert(lock_acquire(&near__purge_lock));
	while (times--)
		near__heap_sample(0);
	lock_release(&near__purge_lock);
}

/* A sample counts for a quarter, and is rounded up. */
#define EXPECT_LEARNED(density, share) cr_assert((density) >= (share) && (density) <= (share) + 4, "%u", density)

/* ---- densities -------------------------------------------------------------------------------------- */

Test(retain, samples_learn_what_is_resident_of_what_is_in_use)
{
	cr_assert_eq(chunks()->used_density, ALL, "until samples were taken");
	fill(1, 2);
	sample(ENOUGH);
	EXPECT_LEARNED(chunks()->used_density, ALL / 2);
	cr_assert_eq(chunks()->free_density, ALL, "nothing is free");
	for (unsigned i = 0; i < BLOCKS; i++)
		memset(blocks[i], 1, BLOCK);
	sample(ENOUGH);
	cr_assert_eq(chunks()->used_density, ALL);
}

Test(retain, samples_learn_what_is_resident_of_what_is_free)
{
	fill(1, 4);
	free_all();
	sample(ENOUGH);
	EXPECT_LEARNED(chunks()->free_density, ALL / 4);
	cr_assert_eq(chunks()->used_density, ALL, "nothing is in use");
}

/* Half of the blocks of each chunk are free: each half for itself. */
Test(retain, samples_tell_used_pages_from_free_ones)
{
	fill(1, 4);
	for (unsigned i = 1; i < BLOCKS; i += 2)
		memset(blocks[i], 1, BLOCK / 2);
	for (unsigned i = 0; i < BLOCKS; i += 2)
		cr_assert(release(blocks[i]));
	sample(ENOUGH);
	EXPECT_LEARNED(chunks()->free_density, ALL / 4);
	EXPECT_LEARNED(chunks()->used_density, ALL / 8 * 5);
}

Test(retain, nothing_resident_is_not_no_density)
{
	fill(0, 1);
	sample(ENOUGH);
	EXPECT_LEARNED(chunks()->used_density, 1);
}

/* Four chunks at a time, in turn: the first four are full, the others are not touched. */
Test(retain, samples_go_round_and_count_for_a_quarter)
{
	fill(0, 1);
	for (unsigned i = 0; i < 8; i++)
		memset(blocks[i], 1, BLOCK);
	sample(1);
	cr_assert_eq(chunks()->used_density, ALL);
	sample(1);
	cr_assert_eq(chunks()->used_density, ALL / 4 * 3 + 1);
	sample(1);
	cr_assert_eq(chunks()->used_density, (ALL / 4 * 3 + 1) * 3 / 4 + 1);
	set_densities(0, ALL);
	sample(1);
	cr_assert_eq(chunks()->used_density, 1, "sixteen chunks, the last four");
	sample(1);
	cr_assert_eq(chunks()->used_density, (3 + ALL) / 4 + 1, "the first again");
}

Test(retain, chunks_of_other_nodes_do_not_count)
{
	unit_two_nodes();
	fill(1, 2);
	for (unsigned i = 0; i < 8; i++) {
		bool zeroed = false;

		memset(near__large_alloc(BLOCK, 16, 1, &zeroed), 1, BLOCK);
	}
	sample(ENOUGH);
	EXPECT_LEARNED(chunks()->used_density, ALL / 2);
	cr_assert_eq(near__heap[1]->chunks.used_density, ALL);
}

/* Dirty bytes become resident ones, and the other way round. */
Test(retain, densities_weigh)
{
	set_densities(64, 128);
	cr_assert_eq(near__heap_resident(0, 8 * MIB), 4 * MIB);
	cr_assert_eq(near__heap_dirt(0, 4 * MIB), 8 * MIB);
	cr_assert_eq(near__heap_touched(0, 8 * MIB), 2 * MIB);
	set_densities(ALL, ALL);
	cr_assert_eq(near__heap_resident(0, 8 * MIB), 8 * MIB);
	cr_assert_eq(near__heap_dirt(0, 8 * MIB), 8 * MIB);
	cr_assert_eq(near__heap_touched(0, 8 * MIB), 8 * MIB);
	set_densities(1, 1);
	cr_assert_eq(near__heap_resident(0, 8 * MIB), 8 * MIB / ALL);
	cr_assert_eq(near__heap_dirt(0, MIB), ALL * MIB);
	fill(1, 1);
	free_all();
	set_densities(ALL, 64);
	cr_assert_eq(near__heap_retained(0), (size_t)BLOCKS * BLOCK / 4);
	near__chunk_purge(0, near__heap_dirt(0, 2 * MIB), SIZE_MAX, true);
	cr_assert_eq(near__heap_retained(0), 2 * MIB);
	cr_assert_eq(chunks()->dirty_free, 8 * MIB);
	expect_right();
}

/* ---- regret ----------------------------------------------------------------------------------------- */

Test(retain, regret_grows_by_what_is_taken_again_and_shrinks_by_what_is_given)
{
	struct regret regret = {0};

	near__regret_taken(&regret, 5 * MIB, 100 * MIB);
	cr_assert_eq(regret.regretted, 0, "nothing was given back");
	near__regret_given(&regret, 8 * MIB);
	cr_assert(regret.gone == 8 * MIB && regret.regretted == 0);
	near__regret_taken(&regret, 6 * MIB, 100 * MIB);
	cr_assert(regret.gone == 2 * MIB && regret.regretted == 6 * MIB);
	near__regret_taken(&regret, 6 * MIB, 100 * MIB);
	cr_assert(regret.gone == 0 && regret.regretted == 8 * MIB, "only what had been given back");
	near__regret_given(&regret, 16 * MIB);
	cr_assert_eq(regret.regretted, 4 * MIB);
	near__regret_taken(&regret, 16 * MIB, 10 * MIB);
	cr_assert(regret.gone == 0 && regret.regretted == 10 * MIB, "up to a bound");
	near__regret_given(&regret, 100 * MIB);
	cr_assert_eq(regret.regretted, 0);
}

/* What is regretted is resident memory: of what was given back, and of what will be touched. */
Test(retain, regret_is_weighed)
{
	size_t all = (size_t)BLOCKS * BLOCK;

	near__conf.retain_max = GIB;
	fill(1, 1);
	free_all();
	set_densities(ALL / 2, ALL / 4 * 3);
	near__chunk_purge(0, 0, SIZE_MAX, true);
	cr_assert_eq(chunks()->regret.gone, all / 4 * 3);
	cr_assert_eq(chunks()->regret.regretted, 0);
	fill(1, 1);
	cr_assert_eq(chunks()->regret.regretted, all / 2);
	cr_assert_eq(chunks()->regret.gone, all / 4);
}

Test(retain, extents_are_regretted)
{
	const struct regret *regret = &extents()->regret;
	char *block = alloc(8 * MIB, 16);

	cr_assert(release(block));
	cr_assert_eq(regret->gone, 0);
	cr_assert_eq(near__extent_trim(0, 0, false), 8 * MIB);
	cr_assert_eq(regret->gone, 8 * MIB);
	alloc(6 * MIB, 16);
	cr_assert(regret->gone == 2 * MIB && regret->regretted == 6 * MIB);
}

/* ---- what may stay ---------------------------------------------------------------------------------- */

Test(retain, a_lone_thread_may_retain_what_it_regrets)
{
	fill(0, 1);
	set_densities(ALL, ALL);
	cr_assert_eq(near__chunk_allowance(0), BLOCKS * MIB / 8 + MIB);
	set_densities(ALL / 2, ALL);
	cr_assert_eq(near__chunk_allowance(0), BLOCKS * MIB / 16 + MIB, "what is resident of what is in use");
	chunks()->regret.regretted = 3 * MIB;
	cr_assert_eq(near__chunk_allowance(0), BLOCKS * MIB / 16 + 4 * MIB);
	near__conf.retain_max = 2 * MIB;
	cr_assert_eq(near__chunk_allowance(0), BLOCKS * MIB / 16 + 2 * MIB);
	near__conf.initial_pool = 5 * MIB;
	cr_assert_eq(near__chunk_allowance(0), BLOCKS * MIB / 16 + 7 * MIB);
	cr_assert_eq(near__extent_allowance(0), 0);
	extents()->regret.regretted = 3 * MIB;
	cr_assert_eq(near__extent_allowance(0), 3 * MIB);
	near__conf.extent_cache = 2 * MIB;
	cr_assert_eq(near__extent_allowance(0), 2 * MIB);
}

/* Time decides, and these are only bounds. */
Test(retain, with_decay_the_options_bound)
{
	near__heap_decays = true;
	fill(0, 1);
	set_densities(ALL / 2, ALL);
	near__conf.retain_max = 2 * MIB;
	near__conf.initial_pool = 5 * MIB;
	near__conf.extent_cache = 6 * MIB;
	chunks()->regret.regretted = extents()->regret.regretted = 3 * MIB;
	cr_assert_eq(near__chunk_allowance(0), BLOCKS * MIB / 8 + 7 * MIB);
	cr_assert_eq(near__extent_allowance(0), 6 * MIB);
}

Test(retain, without_time_nothing_may_stay)
{
	near__conf.decay_ms = 0;
	fill(0, 1);
	chunks()->regret.regretted = extents()->regret.regretted = 3 * MIB;
	cr_assert_eq(near__chunk_allowance(0), 0);
	cr_assert_eq(near__extent_allowance(0), 0);
	near__conf.initial_pool = 5 * MIB;
	cr_assert_eq(near__chunk_allowance(0), 5 * MIB);
}

static bool wishes(enum heap_wish wish)
{
	return near__heap_wishes & wish;
}

Test(retain, too_much_is_what_is_resident)
{
	fill(1, 1);
	free_all();
	set_densities(ALL, 1);
	near__heap_wishes = 0;
	chunks()->unsampled = 0;
	near__heap_wish(0);
	cr_assert(!wishes(HEAP_TOO_MUCH));
	set_densities(ALL, ALL);
	near__heap_wish(0);
	cr_assert(wishes(HEAP_TOO_MUCH));
}

/* Memory that is locked: else each free would try all of it anew. */
Test(retain, what_the_kernel_will_not_take_is_not_tried_again_soon)
{
	size_t dirty;

	fill(1, 1);
	free_all();
	dirty = chunks()->dirty_free;
	refuse_call(SYS_madvise);
	near__heap_wishes = 0;
	near__heap_wish(0);
	cr_assert(wishes(HEAP_TOO_MUCH));
	cr_assert(lock_acquire(&near__purge_lock));
	cr_assert_eq(near__chunk_purge(0, 0, SIZE_MAX, true), 0);
	lock_release(&near__purge_lock);
	cr_assert_eq(chunks()->stuck, dirty);
	near__heap_wishes = 0;
	near__heap_wish(0);
	cr_assert(!wishes(HEAP_TOO_MUCH));
	cr_assert(!near__heap_loose(chunks()));
	chunks()->stuck = dirty / 2; /* much more has come */
	near__heap_wish(0);
	cr_assert(wishes(HEAP_TOO_MUCH));
}

Test(retain, the_kernel_takes_it_again)
{
	fill(1, 1);
	free_all();
	chunks()->stuck = chunks()->dirty_free;
	cr_assert(lock_acquire(&near__purge_lock));
	cr_assert_eq(near__chunk_purge(0, 0, SIZE_MAX, true), (size_t)BLOCKS * BLOCK);
	lock_release(&near__purge_lock);
	cr_assert_eq(chunks()->stuck, 0);
}

Test(retain, nothing_is_learned_where_the_kernel_does_not_tell)
{
	fill(0, 1);
	set_densities(ALL, ALL);
	refuse_call(SYS_mincore);
	sample(ENOUGH);
	cr_assert_eq(chunks()->used_density, ALL);
	cr_assert_eq(chunks()->free_density, ALL);
}

/* Densities may have changed without anything else that would tell. */
Test(retain, now_and_then_it_is_time_to_ask)
{
	fill(1, 1);
	near__heap_wishes = 0;
	chunks()->unsampled = chunks()->samples = 0;
	for (unsigned calls = 1; calls < 256; calls++)
		near__heap_wish(0);
	cr_assert(!wishes(HEAP_UNSAMPLED));
	near__heap_wish(0);
	cr_assert(wishes(HEAP_UNSAMPLED));
}

/* How many runs are taken or given until it is time; `most`: it is never. */
static unsigned calls_until_due(unsigned most)
{
	unsigned calls = 0;

	near__heap_wishes = 0;
	chunks()->unsampled = 0;
	while (calls < most && !wishes(HEAP_UNSAMPLED)) {
		near__heap_wish(0);
		calls++;
	}
	return calls;
}

/* The first samples tell the most. */
Test(retain, less_often_after_each_of_the_first_samples)
{
	fill(1, 1);
	chunks()->samples = 0;
	for (unsigned i = 0; i < 5; i++) {
		cr_assert_eq(calls_until_due(10000), 256u << (i < 3 ? i : 3), "after %u samples", i);
		sample(1);
	}
	chunks()->committed = 8 * MIB;
	cr_assert_eq(calls_until_due(10000), 10000, "too little memory");
	chunks()->committed = 8 * MIB + CHUNK_BYTES;
	cr_assert_eq(calls_until_due(10000), 2048);
}

Test(retain, sparse_is_a_quarter_of_the_objects_or_spans_of_holes)
{
	struct heap *heap = near__heap[0];

	heap->object_bytes = heap->object_high = heap->span_bytes = 40 * MIB;
	near__heap_note_objects(0, 20 * MIB);
	cr_assert(!wishes(HEAP_SPARSE));
	heap->span_bytes = 41 * MIB;
	heap->object_bytes = 16 * MIB;
	near__heap_note_objects(0, 2 * MIB);
	cr_assert(!wishes(HEAP_SPARSE), "two parts of holes, one of objects");
	near__heap_note_objects(0, MIB);
	cr_assert(wishes(HEAP_SPARSE));
	near__heap_wishes = 0;
	heap->span_bytes = 14 * MIB;
	heap->object_bytes = 10 * MIB + 1;
	near__heap_note_objects(0, 1);
	cr_assert(!wishes(HEAP_SPARSE));
	near__heap_note_objects(0, 1);
	cr_assert(wishes(HEAP_SPARSE), "a quarter of the most");
	near__heap_wishes = 0;
	heap->object_bytes = 0;
	heap->span_bytes = 2 * MIB;
	near__heap_note_objects(0, 0);
	cr_assert(!wishes(HEAP_SPARSE), "so few holes are not worth it");
	heap->span_bytes++;
	near__heap_note_objects(0, 0);
	cr_assert(wishes(HEAP_SPARSE));
	near__heap_wishes = 0;
	near__heap_decays = true;
	near__heap_note_objects(0, MIB);
	cr_assert(!wishes(HEAP_SPARSE), "idle bins go home by themselves");
}

Test(retain, depots_are_asked_when_the_heap_has_grown_by_a_part)
{
	struct chunk_heap *heap = &near__heap[0]->chunks;

	heap->committed = heap->free_bytes = 0;
	near__heap_note_grown(0, 256 * KIB);
	cr_assert(!wishes(HEAP_GROWN));
	near__heap_note_grown(0, MAP_PAGE);
	cr_assert(wishes(HEAP_GROWN));
	near__heap_wishes = 0;
	heap->committed = 64 * MIB;
	near__heap_note_grown(0, 4 * MIB);
	cr_assert(!wishes(HEAP_GROWN), "a sixteenth");
	near__heap_note_grown(0, MAP_PAGE);
	cr_assert(wishes(HEAP_GROWN));
}

Test(retain, hollow_is_when_it_grows_beside_new_holes)
{
	struct heap *heap = near__heap[0];

	heap->span_bytes = 20 * MIB;
	heap->object_bytes = 18 * MIB;
	near__heap_note_grown(0, MAP_PAGE);
	cr_assert(!wishes(HEAP_HOLLOW), "few");
	heap->object_bytes--;
	near__heap_note_grown(0, MAP_PAGE);
	cr_assert(wishes(HEAP_HOLLOW));
	heap->span_bytes = 256 * MIB;
	heap->object_bytes = 252 * MIB;
	cr_assert(!near__heap_is_hollow(0), "a small part");
	heap->object_bytes--;
	cr_assert(near__heap_is_hollow(0));

	near__heap_wishes = 0;
	near__heap_note_hollow(0, false);
	cr_assert(wishes(HEAP_HOLLOW) && near__heap_is_hollow(0), "only some were looked at");
	near__heap_note_hollow(0, true);
	cr_assert(!near__heap_is_hollow(0), "that was done");
	heap->object_bytes = 248 * MIB - 1;
	cr_assert(!near__heap_is_hollow(0));
	heap->object_bytes--;
	cr_assert(near__heap_is_hollow(0), "as many again");
	heap->object_bytes = 255 * MIB;
	near__heap_note_filled(0);
	cr_assert(!near__heap_is_hollow(0), "filled");
	heap->object_bytes = 251 * MIB - 1;
	cr_assert(near__heap_is_hollow(0));

	heap->object_bytes = 192 * MIB;
	near__heap_note_hollow(0, true);
	heap->object_bytes = 183 * MIB;
	cr_assert(!near__heap_is_hollow(0), "a small part of the holes");
	heap->object_bytes = 182 * MIB;
	cr_assert(near__heap_is_hollow(0));
}

/* Pages that were given back for nothing may stay the next time. */
Test(retain, hollow_less_when_it_was_regretted)
{
	struct heap *heap = near__heap[0];

	heap->span_bytes = 256 * MIB;
	near__regret_given(&heap->hollow_regret, 8 * MIB);
	near__heap_note_hollow(0, true);
	near__regret_taken(&heap->hollow_regret, 3 * MIB, 32 * MIB);
	heap->object_bytes = 256 * MIB;
	near__heap_note_filled(0);
	cr_assert(!near__heap_is_hollow(0));
	heap->object_bytes = 249 * MIB;
	cr_assert(!near__heap_is_hollow(0));
	heap->object_bytes--;
	cr_assert(near__heap_is_hollow(0));
}

/* When to empty caches gave nothing back, twice as much must be freed before the next time. */
Test(retain, what_was_futile_is_not_tried_again_soon)
{
	struct heap *heap = near__heap[0];
	size_t wait = 256 * KIB;

	heap->object_high = heap->object_bytes = 64 * MIB;
	heap->span_bytes = 512 * MIB;
	for (unsigned i = 0; i < 10; i++, wait = size_min(wait * 2, 64 * MIB)) {
		near__heap_note_emptied(0, near__heap_holes(0));
		near__heap_wishes = 0;
		heap->object_bytes = heap->object_high = 128 * MIB;
		near__heap_note_objects(0, wait - 1);
		cr_assert(!wishes(HEAP_SPARSE), "after %u times", i);
		near__heap_note_objects(0, 1);
		cr_assert(wishes(HEAP_SPARSE));
	}
	heap->object_bytes = 32 * MIB;
	near__heap_note_emptied(0, 2 * near__heap_holes(0));
	cr_assert_eq(heap->sparse_wait, 256 * KIB, "half of them went");
	heap->object_bytes = 0;
	heap->span_bytes = 7 * MIB;
	near__heap_note_emptied(0, 8 * MIB);
	cr_assert_eq(heap->sparse_wait, 256 * KIB, "an eighth of them");
	near__heap_note_emptied(0, 8 * MIB - 8);
	cr_assert_eq(heap->sparse_wait, 512 * KIB, "less");
	cr_assert_eq(heap->freed_since, 0);
	cr_assert_eq(heap->object_high, heap->object_bytes);
	heap->span_bytes = 512 * MIB;
	for (unsigned i = 0; i < 3; i++) {
		heap->object_bytes = 64 * MIB;
		near__heap_note_emptied(0, 2 * near__heap_holes(0));
		cr_assert_eq(heap->sparse_wait, 256 * KIB << i, "what went came back");
	}
	heap->object_bytes = 128 * MIB;
	near__heap_note_emptied(0, 2 * near__heap_holes(0));
	cr_assert_eq(heap->sparse_wait, 256 * KIB, "for other objects");
}
