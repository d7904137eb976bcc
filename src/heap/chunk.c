/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Chunks: runs of pages out of 2 MiB, by bitmap.
 *
 * Chunks hang in buckets by their longest free run. A run is taken from the fullest of the first few chunks of
 * the lowest bucket that fits, first fit inside, so that whole chunks empty. All lists under the heap's chunk lock.
 * Free pages stay as they are: whoever gives them back (purge.c) is only told when there are too many.
 */
#include "base/conf.h"
#include "heap/huge.h"
#include "heap/limit.h"
#include "heap/purge.h"
#include "heap/retain.h"
#include "os/os.h"

enum {
	CANDIDATES = 8, /* chunks looked at in a bucket */
};

POOL_DEFINE(near__chunks, sizeof(struct chunk), CACHE_LINE);

static struct chunk *chunk_at(uint32_t index)
{
	return pool_record(&near__chunks, index);
}

static struct chunk_heap *heap_of(unsigned node)
{
	return &near__heap[node]->chunks;
}

/* Runs of 1 to 16 pages have a bucket each, longer ones four to a doubling. */
static unsigned bucket_of(unsigned pages)
{
	if (pages <= 16)
		return pages - 1;

	unsigned doubling = log2_floor(pages);

	return 16 + (doubling - 4) * 4 + (pages >> (doubling - 2) & 3);
}

static void link_chunk(struct chunk_heap *heap, struct chunk *chunk, uint32_t index)
{
	if (!chunk->longest)
		return;

	unsigned bucket = bucket_of(chunk->longest);
	uint32_t first = heap->first[bucket];

	chunk->bucket = (uint8_t)bucket;
	chunk->next = first;
	chunk->prev = 0;
	if (first)
		chunk_at(first)->prev = index;
	heap->first[bucket] = index;
	heap->nonempty |= 1ull << bucket;
}

void near__chunk_unlink(struct chunk_heap *heap, struct chunk *chunk)
{
	if (!chunk->longest)
		return;
	if (chunk->prev)
		chunk_at(chunk->prev)->next = chunk->next;
	else
		heap->first[chunk->bucket] = chunk->next;
	if (chunk->next)
		chunk_at(chunk->next)->prev = chunk->prev;
	if (!heap->first[chunk->bucket])
		heap->nonempty &= ~(1ull << chunk->bucket);
}

/* First free run of `pages` pages from a multiple of `align`; CHUNK_PAGES when there is none. */
static unsigned find_run(const struct chunk *chunk, unsigned pages, unsigned align)
{
	unsigned at = bits_next_clear(chunk->used, 0, CHUNK_PAGES);

	while (at < CHUNK_PAGES) {
		unsigned end = bits_next_set(chunk->used, at, CHUNK_PAGES);
		unsigned start = (unsigned)round_up(at, align);

		if (start + pages <= end)
			return start;
		at = bits_next_clear(chunk->used, end, CHUNK_PAGES);
	}
	return CHUNK_PAGES;
}

static void note_run(struct chunk *chunk, unsigned at, unsigned end)
{
	unsigned start = (unsigned)round_up(at, GRID_PAGES);

	if (end > at + chunk->longest)
		chunk->longest = (uint16_t)(end - at);
	if (end > start + chunk->on_grid)
		chunk->on_grid = (uint16_t)(end - start);
}

/* Returns how many pages are free. */
static unsigned measure(struct chunk *chunk)
{
	unsigned free = 0, at = bits_next_clear(chunk->used, 0, CHUNK_PAGES);

	chunk->longest = chunk->on_grid = 0;
	while (at < CHUNK_PAGES) {
		unsigned end = bits_next_set(chunk->used, at, CHUNK_PAGES);

		free += end - at;
		note_run(chunk, at, end);
		at = bits_next_clear(chunk->used, end, CHUNK_PAGES);
	}
	return free;
}

/* With so many free pages, and so many of them dirty. */
static void relink(struct chunk_heap *heap, struct chunk *chunk, uint32_t index, size_t free, size_t dirty)
{
	bool was_empty = chunk->free == CHUNK_PAGES;

	store_relaxed(&heap->free_bytes, heap->free_bytes + (free - chunk->free) * MAP_PAGE);
	store_relaxed(&heap->dirty_free, heap->dirty_free + (dirty - chunk->dirty_free) * MAP_PAGE);
	store_relaxed(&chunk->free, (uint16_t)free);
	store_relaxed(&chunk->dirty_free, (uint16_t)dirty);
	link_chunk(heap, chunk, index);
	if (was_empty != (free == CHUNK_PAGES))
		near__region_count(chunk->region, was_empty);
}

void near__chunk_settle(struct chunk_heap *heap, struct chunk *chunk, uint32_t index)
{
	unsigned free = measure(chunk), dirty = 0;

	near_invariant(free == CHUNK_PAGES - near__bits_count(chunk->used, 0, CHUNK_PAGES));
	for (unsigned w = 0; w < CHUNK_WORDS; w++)
		dirty += bits_in(chunk->dirty[w] & ~chunk->used[w]);
	relink(heap, chunk, index, free, dirty);
}

/* The fuller one; of two alike the one of whose free pages more are resident. */
static bool is_better(const struct chunk *chunk, const struct chunk *best)
{
	return chunk->free < best->free || (chunk->free == best->free && chunk->dirty_free > best->dirty_free);
}

/* Half of them at least. */
static bool is_dirty(const struct chunk *chunk, unsigned at, unsigned pages)
{
	return near__bits_count(chunk->dirty, at, pages) >= pages - pages / 2;
}

/*
 * The fullest fitting chunk among the first few of a bucket, and where in it; if that is asked for, only one that has
 * dirty pages there.
 */
static uint32_t best_in(const struct chunk_heap *heap, unsigned bucket, unsigned pages, unsigned align, bool dirty,
			unsigned *at)
{
	uint32_t best = 0;
	unsigned tries = 0;

	for (uint32_t i = heap->first[bucket]; i && tries < CANDIDATES; i = chunk_at(i)->next, tries++) {
		const struct chunk *chunk = chunk_at(i);
		unsigned start;

		if ((align < GRID_PAGES ? chunk->longest : chunk->on_grid) < pages ||
		    (best && !is_better(chunk, chunk_at(best))))
			continue;
		if (dirty && chunk->dirty_free < pages)
			continue;
		start = find_run(chunk, pages, align);
		if (start < CHUNK_PAGES && (!dirty || is_dirty(chunk, start, pages))) {
			best = i;
			*at = start;
		}
	}
	return best;
}

static uint32_t find_in_buckets(const struct chunk_heap *heap, unsigned pages, unsigned align, bool dirty, unsigned *at)
{
	uint64_t buckets = heap->nonempty & ~0ull << bucket_of(pages);

	for (; buckets; buckets &= buckets - 1) {
		uint32_t index = best_in(heap, (unsigned)__builtin_ctzll(buckets), pages, align, dirty, at);

		if (index)
			return index;
	}
	return 0;
}

/* What is resident already is used before what would have to be made so. */
static uint32_t find_chunk(const struct chunk_heap *heap, unsigned pages, unsigned align, unsigned *at)
{
	uint32_t index = 0;

	if (heap->dirty_free >= (size_t)pages * MAP_PAGE)
		index = find_in_buckets(heap, pages, align, true, at);
	return index ? index : find_in_buckets(heap, pages, align, false, at);
}

static uint32_t make_chunk(struct chunk_heap *heap, unsigned node)
{
	uint32_t index = near__pool_take(&near__chunks, node);

	if (!index)
		return 0;
	struct chunk *chunk = chunk_at(index);

	chunk_renew(chunk, node);
	if (!near__region_carve(heap, node, index)) {
		near__pool_give(&near__chunks, index);
		return 0;
	}
	near__huge_wish(heap, chunk);
	store_release(&chunk->in_use, (uint8_t)true);
	link_chunk(heap, chunk, index);
	store_relaxed(&heap->committed, heap->committed + CHUNK_BYTES);
	store_relaxed(&heap->free_bytes, heap->free_bytes + CHUNK_BYTES);
	return index;
}

/* Free pages become used ones. Returns how many of them may hold old data. */
static unsigned take_pages(struct chunk_heap *heap, uint32_t index, unsigned at, unsigned pages)
{
	struct chunk *chunk = chunk_at(index);
	unsigned dirty = near__bits_count(chunk->dirty, at, pages);

	near__chunk_unlink(heap, chunk);
	near__bits_set(chunk->used, at, pages);
	near__bits_set(chunk->dirty, at, pages);
	measure(chunk);
	relink(heap, chunk, index, chunk->free - pages, chunk->dirty_free - dirty);
	near__heap_wish(chunk->node);
	if (dirty < pages)
		near__heap_note_grown(chunk->node, (size_t)(pages - dirty) * MAP_PAGE);
	near__regret_taken(&heap->regret, near__heap_touched(chunk->node, (size_t)(pages - dirty) * MAP_PAGE),
			   near__conf.retain_max);
	return dirty;
}

static void release_later(struct chunk_heap *heap);

/* What a span keeps of its memory. As in release_span, the record goes before the pages: a fork looks at it. */
static void cut_span(struct span *span, size_t keep)
{
	if (keep) {
		span->bytes = keep;
	} else {
		store_release(&span->state, (uint32_t)SPAN_UNUSED);
		span->chunk = 0; /* the record may become that of a mapping */
	}
	compiler_barrier();
}

/* The span's memory from `keep` on could not be made resident on its node, and so was purged. */
static void return_unclaimed(struct chunk_heap *heap, struct span *span, size_t keep)
{
	struct chunk *chunk = chunk_at(span->chunk);
	uint32_t index = span->chunk;
	unsigned at = (unsigned)((span->start + keep - chunk->base) / MAP_PAGE);
	unsigned pages = (unsigned)((span->bytes - keep) / MAP_PAGE);

	if (!lock_acquire(&heap->lock)) { /* busy, and a signal handler that came under another lock may not wait */
		cut_span(span, keep);
		fetch_add_relaxed(&near__heap_lost, 1ull);
		return;
	}
	cut_span(span, keep);
	near__chunk_unlink(heap, chunk);
	near__bits_clear(chunk->used, at, pages);
	near__bits_clear(chunk->dirty, at, pages);
	near__chunk_settle(heap, chunk, index);
	lock_release(&heap->lock);
}

/* Clean pages of a chunk, or of a new one, make the process larger. */
static bool may_use(uint32_t index, unsigned at, unsigned pages)
{
	unsigned dirty;

	if (!near__limit_any())
		return true;
	dirty = near__bits_count(chunk_at(index)->dirty, at, pages);
	return dirty == pages || near__limit_allows((size_t)(pages - dirty) * MAP_PAGE);
}

/* A chunk and where in it; off the grid rather than not at all. A new chunk has room from page 0 for any alignment. */
static uint32_t find_or_make(struct chunk_heap *heap, const struct span *span, size_t align, unsigned *at)
{
	size_t block = span->class ? near__class[span->class].bytes : span->bytes;
	size_t grid = size_max(align, near__heap_grid(heap, span->bytes, block));
	unsigned pages = (unsigned)(span->bytes / MAP_PAGE);
	uint32_t index = find_chunk(heap, pages, (unsigned)(grid / MAP_PAGE), at);

	if (!index && near__limit_allows(span->bytes)) {
		*at = 0;
		index = make_chunk(heap, span->node);
	}
	if (!index && grid > align)
		index = find_chunk(heap, pages, (unsigned)(align / MAP_PAGE), at);
	return index && may_use(index, *at, pages) ? index : 0;
}

bool near__chunk_take(struct span *span, size_t align, enum span_state state, bool *zeroed)
{
	struct chunk_heap *heap = heap_of(span->node);
	unsigned pages = (unsigned)(span->bytes / MAP_PAGE), at, dirty = 0;
	bool huge = false;

	if (!lock_acquire(&heap->lock))
		return false;
	release_later(heap);

	uint32_t index = find_or_make(heap, span, align, &at);

	if (index) {
		huge = near__huge_begin(heap, chunk_at(index));
		dirty = take_pages(heap, index, at, pages);
		span->start = chunk_at(index)->base + (size_t)at * MAP_PAGE;
		span->chunk = index;
		store_release(&span->state, (uint32_t)state);
	}
	lock_release(&heap->lock);
	if (unlikely(huge))
		near__huge_touch(chunk_at(index), (char *)span->start);
	/* What went lazily may come back as it was. */
	*zeroed = !dirty && near__conf.purge == CONF_PURGE_NOW;
	if (index && dirty < pages && near__numa_claim((void *)span->start, span->bytes, span->node)) {
		return_unclaimed(heap, span, 0);
		return false;
	}
	return index != 0;
}

/* ---- giving memory back; under the lock ----------------------------------------------------------- */

static void release_run(struct chunk_heap *heap, uint32_t index, unsigned at, unsigned pages)
{
	struct chunk *chunk = chunk_at(index);

	near_invariant(near__bits_count(chunk->used, at, pages) == pages);
	near_invariant(near__bits_count(chunk->dirty, at, pages) == pages);
	near__chunk_unlink(heap, chunk);
	near__bits_clear(chunk->used, at, pages);
	note_run(chunk, bits_run_start(chunk->used, at), bits_next_set(chunk->used, at + pages, CHUNK_PAGES));
	relink(heap, chunk, index, chunk->free + pages, chunk->dirty_free + pages);
	near__heap_wish(chunk->node);
}

/* The state goes first: the child of a fork marks as used what spans say that they have. */
static void release_span(struct chunk_heap *heap, uint32_t index)
{
	struct span *span = pool_record(&near__spans, index);
	unsigned at = (unsigned)((span->start - chunk_at(span->chunk)->base) / MAP_PAGE);

	store_release(&span->state, (uint32_t)SPAN_UNUSED);
	compiler_barrier();
	release_run(heap, span->chunk, at, (unsigned)(span->bytes / MAP_PAGE));
	near__pool_give(&near__spans, index);
}

static void release_later(struct chunk_heap *heap)
{
	uint32_t index;

	while (unlikely(stack_top(&heap->later)) && (index = near__stack_pop(&heap->later, &near__spans)))
		release_span(heap, index);
}

void near__chunk_give(struct span *span, uint32_t index)
{
	struct chunk_heap *heap = heap_of(span->node);

	if (!lock_acquire(&heap->lock)) {
		near__stack_push(&heap->later, &near__spans, index); /* SPAN_HELD until its pages are free */
		return;
	}
	release_span(heap, index);
	release_later(heap);
	lock_release(&heap->lock);
}

/* The pages behind the run, if they are free. Under the lock. */
static bool extend(struct chunk_heap *heap, struct span *span, unsigned from, unsigned pages, unsigned *dirty)
{
	if (near__bits_any(chunk_at(span->chunk)->used, from, pages) || !may_use(span->chunk, from, pages))
		return false;
	*dirty = take_pages(heap, span->chunk, from, pages);
	return true;
}

bool near__chunk_resize(struct span *span, size_t bytes)
{
	struct chunk_heap *heap = heap_of(span->node);
	uintptr_t end = span->start + span->bytes;
	unsigned at = (unsigned)((span->start - chunk_at(span->chunk)->base) / MAP_PAGE);
	unsigned old = (unsigned)(span->bytes / MAP_PAGE), new = (unsigned)(bytes / MAP_PAGE), dirty = 0;
	bool done = true;

	if (at + new > CHUNK_PAGES || !lock_acquire(&heap->lock))
		return false;
	if (new < old) {
		span->bytes = bytes;
		release_run(heap, span->chunk, at + new, old - new);
	} else {
		done = extend(heap, span, at + old, new - old, &dirty);
		span->bytes = done ? bytes : span->bytes;
	}
	lock_release(&heap->lock);
	if (new <= old || !done || dirty == new - old ||
	    !near__numa_claim((void *)end, bytes - (end - span->start), span->node))
		return done;
	return_unclaimed(heap, span, end - span->start);
	return false;
}

/* ---- the child of a fork -------------------------------------------------------------------------- */

void near__chunk_rebuild(unsigned node)
{
	struct chunk_heap *heap = heap_of(node);
	uint32_t chunks = near__pool_end(&near__chunks), spans = near__pool_end(&near__spans);

	heap->nonempty = 0;
	heap->committed = heap->free_bytes = heap->dirty_free = 0;
	for (unsigned i = 0; i < CHUNK_BUCKETS; i++)
		heap->first[i] = 0;
	for (uint32_t i = POOL_FIRST; i < chunks; i++) {
		struct chunk *chunk = near__pool_peek(&near__chunks, i);

		if (chunk && chunk->in_use && chunk->node == node)
			near__bits_clear(chunk->used, 0, CHUNK_PAGES);
	}
	for (uint32_t i = POOL_FIRST; i < spans; i++) {
		struct span *span = near__pool_peek(&near__spans, i);

		if (!span || !span->chunk || span->state == SPAN_UNUSED || span->node != node)
			continue;

		struct chunk *chunk = chunk_at(span->chunk);
		unsigned at = (unsigned)((span->start - chunk->base) / MAP_PAGE);

		near__bits_set(chunk->used, at, (unsigned)(span->bytes / MAP_PAGE));
		near__bits_set(chunk->dirty, at, (unsigned)(span->bytes / MAP_PAGE));
	}
	/* The thread that came along may be the one that gives them back; else they are free again, and dirty still. */
	for (struct lent *run = heap->lent; run < heap->lent + LENT_MOST; run++) {
		if (run->pages && near__purger_survives)
			near__bits_set(chunk_at(run->chunk)->used, run->at, run->pages);
		else
			run->pages = 0;
	}
	near__region_rebuild(heap, node);
	for (uint32_t i = POOL_FIRST; i < chunks; i++) {
		struct chunk *chunk = near__pool_peek(&near__chunks, i);

		if (!chunk || !chunk->in_use || chunk->node != node)
			continue;
		chunk->free = chunk->dirty_free = 0;
		near__chunk_settle(heap, chunk, i);
		heap->committed += CHUNK_BYTES;
		heap->reserved += CHUNK_BYTES;
	}
}
