/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Chunks: runs of pages out of 2 MiB, by bitmap.
 *
 * Chunks hang in buckets by their longest free run. A run is taken from the fullest of the first few chunks of
 * the lowest bucket that fits, first fit inside, so that whole chunks empty. All lists under the heap's chunk lock.
 */
#include "heap/heap.h"
#include "os/os.h"

enum {
	CANDIDATES = 8,	       /* chunks looked at in a bucket */
	DIRTY_MOST = 32 << 20, /* bytes of dirty free pages of a node beyond which chunks are purged, */
	PURGE_LEAST = 1 << 20, /* those that are empty or have this many */
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

static void unlink_chunk(struct chunk_heap *heap, struct chunk *chunk)
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
	unsigned at = near__bits_next_clear(chunk->used, 0, CHUNK_PAGES);

	while (at < CHUNK_PAGES) {
		unsigned end = near__bits_next_set(chunk->used, at, CHUNK_PAGES);
		unsigned start = (unsigned)round_up(at, align);

		if (start + pages <= end)
			return start;
		at = near__bits_next_clear(chunk->used, end, CHUNK_PAGES);
	}
	return CHUNK_PAGES;
}

static void recount(struct chunk *chunk)
{
	unsigned longest = 0, free = 0, at = near__bits_next_clear(chunk->used, 0, CHUNK_PAGES);

	while (at < CHUNK_PAGES) {
		unsigned end = near__bits_next_set(chunk->used, at, CHUNK_PAGES);

		free += end - at;
		longest = end - at > longest ? end - at : longest;
		at = near__bits_next_clear(chunk->used, end, CHUNK_PAGES);
	}
	near_invariant(free == CHUNK_PAGES - near__bits_count(chunk->used, 0, CHUNK_PAGES));
	chunk->free = (uint16_t)free;
	chunk->longest = (uint16_t)longest;
}

/* The fullest fitting chunk among the first few of a bucket, and where in it. */
static uint32_t best_in(const struct chunk_heap *heap, unsigned bucket, unsigned pages, unsigned align, unsigned *at)
{
	uint32_t best = 0;
	unsigned tries = 0;

	for (uint32_t i = heap->first[bucket]; i && tries < CANDIDATES; i = chunk_at(i)->next, tries++) {
		const struct chunk *chunk = chunk_at(i);
		unsigned start;

		if (chunk->longest < pages || (best && chunk->free >= chunk_at(best)->free))
			continue;
		start = find_run(chunk, pages, align);
		if (start < CHUNK_PAGES) {
			best = i;
			*at = start;
		}
	}
	return best;
}

static uint32_t find_chunk(const struct chunk_heap *heap, unsigned pages, unsigned align, unsigned *at)
{
	uint64_t buckets = heap->nonempty & ~0ull << bucket_of(pages);

	for (; buckets; buckets &= buckets - 1) {
		uint32_t index = best_in(heap, (unsigned)__builtin_ctzll(buckets), pages, align, at);

		if (index)
			return index;
	}
	return 0;
}

static uint32_t make_chunk(struct chunk_heap *heap, unsigned node)
{
	uint32_t index = near__pool_take(&near__chunks, node);
	uintptr_t base;

	if (!index)
		return 0;
	if (!near__region_carve(heap, node, &base)) {
		near__pool_give(&near__chunks, index);
		return 0;
	}

	struct chunk *chunk = chunk_at(index);

	*chunk = (struct chunk){.base = base, .node = (uint16_t)node, .free = CHUNK_PAGES, .longest = CHUNK_PAGES};
	store_release(&chunk->in_use, (uint8_t)true);
	link_chunk(heap, chunk, index);
	return index;
}

/* The pages are about to be used. Returns how many of them may hold old data. */
static unsigned take_dirt(struct chunk_heap *heap, struct chunk *chunk, unsigned at, unsigned pages)
{
	unsigned dirty = near__bits_count(chunk->dirty, at, pages);

	near_invariant(heap->dirty_free >= (size_t)dirty * MAP_PAGE);
	near__bits_set(chunk->dirty, at, pages);
	heap->dirty_free -= (size_t)dirty * MAP_PAGE;
	return dirty;
}

static void release_later(struct chunk_heap *heap);
static void release_run(struct chunk_heap *heap, uint32_t index, unsigned at, unsigned pages);

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
	release_run(heap, index, at, pages); /* may purge them once more */
	heap->dirty_free -= (size_t)near__bits_count(chunk->dirty, at, pages) * MAP_PAGE;
	near__bits_clear(chunk->dirty, at, pages);
	lock_release(&heap->lock);
}

bool near__chunk_take(struct span *span, size_t align, enum span_state state, bool *zeroed)
{
	struct chunk_heap *heap = heap_of(span->node);
	unsigned pages = (unsigned)(span->bytes / MAP_PAGE), at = 0, dirty = 0;

	if (!lock_acquire(&heap->lock))
		return false;
	release_later(heap);

	uint32_t index = find_chunk(heap, pages, (unsigned)(align / MAP_PAGE), &at);

	if (!index)
		index = make_chunk(heap, span->node); /* starts at a multiple of any alignment, page 0 */
	if (index) {
		struct chunk *chunk = chunk_at(index);

		unlink_chunk(heap, chunk);
		near__bits_set(chunk->used, at, pages);
		dirty = take_dirt(heap, chunk, at, pages);
		recount(chunk);
		link_chunk(heap, chunk, index);
		span->start = chunk->base + (size_t)at * MAP_PAGE;
		span->chunk = index;
		store_release(&span->state, (uint32_t)state);
	}
	lock_release(&heap->lock);
	*zeroed = !dirty;
	if (index && dirty < pages && near__numa_claim((void *)span->start, span->bytes, span->node)) {
		return_unclaimed(heap, span, 0);
		return false;
	}
	return index != 0;
}

/* ---- giving memory back; under the lock ----------------------------------------------------------- */

static size_t dirty_free_of(const struct chunk *chunk)
{
	unsigned pages = 0;

	for (unsigned w = 0; w < CHUNK_WORDS; w++)
		pages += (unsigned)__builtin_popcountll(chunk->dirty[w] & ~chunk->used[w]);
	return (size_t)pages * MAP_PAGE;
}

/* Purges the dirty free pages of a chunk, whole kernel pages only. */
static void purge_chunk(struct chunk_heap *heap, struct chunk *chunk)
{
	unsigned grain = (unsigned)(near__os_page_size / MAP_PAGE), at = 0;

	while ((at = near__bits_next_clear(chunk->used, at, CHUNK_PAGES)) < CHUNK_PAGES) {
		unsigned end = near__bits_next_set(chunk->used, at, CHUNK_PAGES);
		unsigned from = (unsigned)round_up(at, grain), to = (unsigned)round_down(end, grain);

		at = end;
		if (from >= to)
			continue;
		/* Only from the first to the last dirty page of the run. */
		from = (unsigned)round_down(near__bits_next_set(chunk->dirty, from, to), grain);
		while (to > from && !near__bits_any(chunk->dirty, to - grain, grain))
			to -= grain;
		if (from >= to ||
		    near__os_purge((void *)(chunk->base + (size_t)from * MAP_PAGE), (size_t)(to - from) * MAP_PAGE))
			continue;
		heap->dirty_free -= (size_t)near__bits_count(chunk->dirty, from, to - from) * MAP_PAGE;
		near__bits_clear(chunk->dirty, from, to - from);
		heap->given_back += (size_t)(to - from) * MAP_PAGE;
	}
}

static void release_run(struct chunk_heap *heap, uint32_t index, unsigned at, unsigned pages)
{
	struct chunk *chunk = chunk_at(index);

	near_invariant(near__bits_count(chunk->used, at, pages) == pages);
	unlink_chunk(heap, chunk);
	near__bits_clear(chunk->used, at, pages);
	recount(chunk);
	link_chunk(heap, chunk, index);
	heap->dirty_free += (size_t)pages * MAP_PAGE;
	if (heap->dirty_free > DIRTY_MOST && (chunk->free == CHUNK_PAGES || dirty_free_of(chunk) >= PURGE_LEAST))
		purge_chunk(heap, chunk);
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
	struct chunk *chunk = chunk_at(span->chunk);

	if (near__bits_any(chunk->used, from, pages))
		return false;
	unlink_chunk(heap, chunk);
	near__bits_set(chunk->used, from, pages);
	*dirty = take_dirt(heap, chunk, from, pages);
	recount(chunk);
	link_chunk(heap, chunk, span->chunk);
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

/* ---- trim ----------------------------------------------------------------------------------------- */

static bool belongs(const struct chunk *chunk, unsigned node)
{
	return chunk && load_acquire(&chunk->in_use) && chunk->node == node;
}

/* Unmaps an empty chunk. The region keeps a hole there. False: the kernel refuses, and all is as before. */
static bool unmap_chunk(struct chunk_heap *heap, struct chunk *chunk, uint32_t index)
{
	size_t dirty = dirty_free_of(chunk);

	unlink_chunk(heap, chunk);
	store_release(&chunk->in_use, (uint8_t)false);
	compiler_barrier();
	if (near__os_unmap((void *)chunk->base, CHUNK_BYTES)) {
		store_release(&chunk->in_use, (uint8_t)true);
		link_chunk(heap, chunk, index);
		return false;
	}
	heap->dirty_free -= dirty;
	heap->given_back += dirty;
	heap->reserved -= CHUNK_BYTES;
	return true;
}

size_t near__chunk_trim(unsigned node, size_t keep)
{
	struct chunk_heap *heap = heap_of(node);
	size_t before = load_relaxed(&heap->given_back);
	uint32_t end = near__pool_end(&near__chunks);

	for (uint32_t i = 1; i < end && load_relaxed(&heap->dirty_free) > keep; i++) {
		struct chunk *chunk = near__pool_peek(&near__chunks, i);
		bool gone = false;

		if (!belongs(chunk, node) || !lock_acquire(&heap->lock))
			continue;
		release_later(heap);
		if (belongs(chunk, node)) /* still, now that the lock is held */
			purge_chunk(heap, chunk);
		/* Locked pages cannot be purged (EINVAL), but unmapped. */
		if (belongs(chunk, node) && chunk->free == CHUNK_PAGES && dirty_free_of(chunk))
			gone = unmap_chunk(heap, chunk, i);
		lock_release(&heap->lock);
		if (gone)
			near__pool_give(&near__chunks, i);
	}
	return load_relaxed(&heap->given_back) - before;
}

void near__chunk_release(unsigned node)
{
	struct chunk_heap *heap = heap_of(node);
	uint32_t end = near__pool_end(&near__chunks);

	for (uint32_t i = 1; i < end; i++) {
		struct chunk *chunk = near__pool_peek(&near__chunks, i);
		bool gone = false;

		if (!belongs(chunk, node) || load_relaxed(&chunk->free) != CHUNK_PAGES || !lock_acquire(&heap->lock))
			continue;
		if (chunk->free == CHUNK_PAGES && belongs(chunk, node))
			gone = unmap_chunk(heap, chunk, i);
		lock_release(&heap->lock);
		if (gone)
			near__pool_give(&near__chunks, i);
	}
}

/* ---- the child of a fork -------------------------------------------------------------------------- */

void near__chunk_rebuild(unsigned node)
{
	struct chunk_heap *heap = heap_of(node);
	uint32_t chunks = near__pool_end(&near__chunks), spans = near__pool_end(&near__spans);

	heap->nonempty = 0;
	heap->dirty_free = 0;
	for (unsigned i = 0; i < CHUNK_BUCKETS; i++)
		heap->first[i] = 0;
	for (uint32_t i = 1; i < chunks; i++) {
		struct chunk *chunk = near__pool_peek(&near__chunks, i);

		if (chunk && chunk->in_use && chunk->node == node)
			near__bits_clear(chunk->used, 0, CHUNK_PAGES);
	}
	for (uint32_t i = 1; i < spans; i++) {
		struct span *span = near__pool_peek(&near__spans, i);

		if (!span || !span->chunk || span->state == SPAN_UNUSED || span->node != node)
			continue;

		struct chunk *chunk = chunk_at(span->chunk);
		unsigned at = (unsigned)((span->start - chunk->base) / MAP_PAGE);

		near__bits_set(chunk->used, at, (unsigned)(span->bytes / MAP_PAGE));
		near__bits_set(chunk->dirty, at, (unsigned)(span->bytes / MAP_PAGE));
	}
	for (uint32_t i = 1; i < chunks; i++) {
		struct chunk *chunk = near__pool_peek(&near__chunks, i);

		if (chunk && chunk->in_use && chunk->node == node) {
			recount(chunk);
			link_chunk(heap, chunk, i);
			heap->dirty_free += dirty_free_of(chunk);
		}
	}
}
