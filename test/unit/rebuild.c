/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* heap/rebuild: what the child of a fork makes of lists that a dead thread left half written. */
#include "heap/purge.h"
#include "heap_check.h"
#include "malloc/malloc.h"
#include "os/os.h"
#include "unit.h"

enum { CLASS = 9, OBJECTS = 2000 };

static void *objects[OBJECTS];
static unsigned count;
static void *blocks[8];

/* Spans of several classes and fullness, runs, mappings and extents. */
static void populate(void)
{
	bool zeroed = false;

	while (count + 40 < OBJECTS) {
		unsigned class = count % 3 ? CLASS : CLASS + 20;
		unsigned got = near__span_take(0, class, objects + count + 39, 40);

		memmove(objects + count, objects + count + 40 - got, got * sizeof(*objects));
		count += got;
	}
	for (unsigned i = 0; i < count; i += 3) {
		unsigned bin = (unsigned)pagemap_slot((uintptr_t)objects[i]) / BIN_WORDS;

		cr_assert(near__span_give(bin, &objects[i], 1, "free"));
		objects[i] = NULL;
	}
	for (unsigned i = 0; i < ARRAY_LEN(blocks); i++)
		blocks[i] = near__large_alloc(i % 2 ? 300 * KIB : 2 * MIB, 16, 0, &zeroed);
	for (unsigned i = 0; i < ARRAY_LEN(blocks); i += 3) {
		uint32_t index = near__pagemap_span((uintptr_t)blocks[i]);

		cr_assert(near__large_free(pool_record(&near__spans, index), index));
		blocks[i] = NULL;
	}
	cr_assert_null(heap_wrong(0, true));
}

/* The span of some object of the class that is damaged. */
static struct span *some_span(void)
{
	for (unsigned i = 0; i < count; i++) {
		struct span *span = objects[i] ? span_or_null(near__pagemap_span((uintptr_t)objects[i])) : NULL;

		if (span && span->class == CLASS && span->listed)
			return span;
	}
	cr_assert_fail("no span with room");
	return NULL;
}

static void expect_mended(void)
{
	const char *wrong;

	near__heap_after_fork();
	wrong = heap_wrong(0, true);
	cr_assert_null(wrong, "%s", wrong);
}

/* Everything that was in use is still, and can be given back. */
static void expect_usable(void)
{
	void *more[40];

	for (unsigned i = 0; i < 50; i++)
		cr_assert(near__span_take(0, CLASS, more + 39, 40) > 0);
	for (unsigned i = 0; i < count; i++) {
		unsigned bin = objects[i] ? (unsigned)pagemap_slot((uintptr_t)objects[i]) / BIN_WORDS : 0;

		cr_assert(!objects[i] || near__span_give(bin, &objects[i], 1, "free"));
	}
	for (unsigned i = 0; i < ARRAY_LEN(blocks); i++) {
		uint32_t index = blocks[i] ? near__pagemap_span((uintptr_t)blocks[i]) : 0;

		cr_assert(!blocks[i] || near__large_free(pool_record(&near__spans, index), index));
	}
	cr_assert_null(heap_wrong(0, true));
}

Test(rebuild, nothing_was_held)
{
	populate();
	expect_mended();
	expect_usable();
}

static void damage_spans(struct span_list *list)
{
	uint32_t first = list->first[2];

	for (unsigned i = 0; i < SPAN_BUCKETS; i++)
		list->first[i] = i == 3 ? first : 0;
	list->empties = 77;
	for (uint32_t i = 1; i < near__pool_end(&near__spans); i++) {
		struct span *span = span_or_null(i);

		if (!span || span->state != SPAN_OBJECTS || span->class != CLASS)
			continue;
		span->next = i;
		span->prev = i + 1;
		span->bucket = 7;
		span->listed = i & 1;
		span->used = 0;
	}
	list->lock.word = STRANGER;
}

Test(rebuild, span_lists)
{
	populate();
	damage_spans(&near__heap[0]->spans[CLASS]);
	expect_mended();
	expect_usable();
}

/* Between the last store to `fresh` or the bitmap and the one to `used`. */
Test(rebuild, objects_in_a_dead_thread_s_hands)
{
	struct span_list *list = &near__heap[0]->spans[CLASS];
	struct span *span;
	unsigned used;

	populate();
	span = some_span();
	used = span->used;
	for (unsigned w = 0; w < SPAN_WORDS; w++) {
		used += (unsigned)__builtin_popcountll(span->free[w]);
		span->free[w] = 0;
	}
	near__heap[0]->object_bytes += (used - span->used) * (size_t)near__class[CLASS].bytes; /* nobody is to miss them */
	list->lock.word = STRANGER | LOCK_SLEEPERS;
	expect_mended();
	cr_assert_eq(span->used, used);
	expect_usable();
}

/* A span on its way to or from the list may have a half written page map: it stays out of everybody's hands. */
Test(rebuild, a_held_span_is_left_alone)
{
	struct span_list *list = &near__heap[0]->spans[CLASS];
	struct span *span;

	populate();
	span = some_span();
	span->state = SPAN_HELD;
	near__pagemap_set(span->start + MAP_PAGE, span->bytes / MAP_PAGE - 1, 0, 0);
	list->lock.word = STRANGER;
	near__heap_after_fork();
	cr_assert_not(span->listed && list->first[span->bucket] == pool_index(&near__spans, (uintptr_t)span));
	cr_assert_eq(list->lock.word, 0);
	near__heap[0]->chunks.lock.word = STRANGER;
	near__heap_after_fork();
	for (size_t page = 0; page < span->bytes / MAP_PAGE; page++) {
		struct chunk *chunk = pool_record(&near__chunks, span->chunk);

		cr_assert(bit_test(chunk->used, (unsigned)((span->start - chunk->base) / MAP_PAGE + page)));
	}
}

static void damage_chunks(struct chunk_heap *heap)
{
	for (unsigned i = 0; i < CHUNK_BUCKETS; i++)
		heap->first[i] = i == 5;
	heap->nonempty = 0xff;
	heap->dirty_free = 12345;
	for (uint32_t i = 1; i < near__pool_end(&near__chunks); i++) {
		struct chunk *chunk = chunk_or_null(i);

		if (!chunk || !chunk->in_use)
			continue;
		chunk->next = chunk->prev = i;
		chunk->longest = 3;
		chunk->free = 500;
		near__bits_set(chunk->used, 490, 20); /* by a thread that had not yet said which span they are for */
	}
	heap->lock.word = STRANGER;
}

Test(rebuild, chunks)
{
	populate();
	damage_chunks(&near__heap[0]->chunks);
	expect_mended();
	expect_usable();
}

/* The state had been stored, the bitmap had not. */
Test(rebuild, a_run_on_its_way_back)
{
	struct chunk_heap *heap = &near__heap[0]->chunks;
	uint32_t index;

	populate();
	index = near__pagemap_span((uintptr_t)blocks[1]);
	near__pagemap_set((uintptr_t)blocks[1], 1, 0, 0);
	span_or_null(index)->state = SPAN_UNUSED;
	blocks[1] = NULL;
	heap->lock.word = STRANGER;
	expect_mended();
	expect_usable();
}

Test(rebuild, extents)
{
	struct extent_list *list;

	populate();
	list = &near__heap[0]->extents;
	cr_assert_gt(list->count, 0);
	list->first = 0;
	list->last = 4711;
	list->count = 99;
	list->bytes = 1;
	list->lock.word = STRANGER;
	expect_mended();
	cr_assert_gt(list->count, 0);
	expect_usable();
}

/* ---- what a dead purger had out of circulation ------------------------------------------------------------- */

static struct span *lend_span(void)
{
	struct span *span = some_span();

	near__span_unlink(&near__heap[0]->spans[CLASS], span);
	span->purging = true;
	near__purging_spans[0] = near__pagemap_span(span->start);
	near__purge_lock.word = STRANGER;
	return span;
}

static void lend_run(struct chunk_heap *heap)
{
	struct lent *run = &heap->lent[0];
	struct chunk *chunk;

	run->chunk = span_or_null(near__pagemap_span((uintptr_t)blocks[1]))->chunk;
	chunk = chunk_or_null(run->chunk);
	run->at = (uint16_t)bits_next_clear(chunk->used, 0, CHUNK_PAGES);
	run->pages = 1;
	near__chunk_unlink(heap, chunk);
	near__bits_set(chunk->used, run->at, 1);
	near__chunk_settle(heap, chunk, run->chunk);
	near__purge_lock.word = STRANGER;
}

Test(rebuild, a_lent_span)
{
	struct span *span;

	populate();
	span = lend_span();
	expect_mended();
	cr_assert(span->listed && !near__purging_spans[0]);
	expect_usable();
}

Test(rebuild, a_lent_run)
{
	populate();
	lend_run(&near__heap[0]->chunks);
	expect_mended();
	cr_assert_eq(near__heap[0]->chunks.lent[0].pages, 0);
	expect_usable();
}

/* The fork was in a signal handler that came under the lock. */
Test(rebuild, a_lent_span_waits_for_its_lock)
{
	struct span *span;
	bool left = false;

	populate();
	span = lend_span();
	near__heap[0]->spans[CLASS].lock.word = lock_self();
	near__heap_after_fork();
	cr_assert(!span->listed && near__purging_spans[0]);
	near__heap[0]->spans[CLASS].lock.word = 0;
	near__span_look(POOL_FIRST, 1, 8, &left);
	cr_assert(span->listed && !near__purging_spans[0]);
	cr_assert_null(heap_wrong(0, true));
	expect_usable();
}

Test(rebuild, a_lent_run_waits_for_its_lock)
{
	struct chunk_heap *heap = &near__heap[0]->chunks;

	populate();
	lend_run(heap);
	heap->lock.word = lock_self();
	near__heap_after_fork();
	cr_assert_eq(heap->lent[0].pages, 1);
	heap->lock.word = 0;
	near__chunk_purge(0, SIZE_MAX, SIZE_MAX, true);
	cr_assert_eq(heap->lent[0].pages, 0);
	cr_assert_null(heap_wrong(0, true));
	expect_usable();
}

Test(rebuild, all_at_once)
{
	populate();
	damage_spans(&near__heap[0]->spans[CLASS]);
	damage_chunks(&near__heap[0]->chunks);
	near__heap[0]->extents.first = near__heap[0]->extents.last = 0;
	near__heap[0]->extents.lock.word = STRANGER;
	expect_mended();
	expect_usable();
}

/* The forking thread's own locks are its own business. */
Test(rebuild, own_locks_stay)
{
	struct lock *lock = &near__heap[0]->chunks.lock;

	populate();
	cr_assert(lock_acquire(lock));
	near__heap_after_fork();
	cr_assert(lock_is_mine(lock));
	lock_release(lock);
	cr_assert_null(heap_wrong(0, true));
}

/* ---- in a real child ------------------------------------------------------------------------------ */

static void orphan_everything(void)
{
	damage_spans(&near__heap[0]->spans[CLASS]);
	damage_chunks(&near__heap[0]->chunks);
	near__heap[0]->extents.lock.word = STRANGER;
	near__drain_lock.word = STRANGER;
}

static void use_all(void)
{
	void *block = near__malloc_slow(144), *large = near__malloc_slow(300 * KIB),
	     *mapped = near__malloc_slow(2 * MIB);

	near__free_slow(block, "free");
	near__free_slow(large, "free");
	near__free_slow(mapped, "free");
	near__drain_all();
	_exit(heap_wrong(0, true) || near__drain_lock.word ? 1 : 0);
}

Test(rebuild, fork_runs_it)
{
	struct ending end;

	populate();
	orphan_everything();
	end = unit_child(fork, use_all);
	cr_assert_eq(end.status, 0, "status %x, said: %s", end.status, end.text);
}
