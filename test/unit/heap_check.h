/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * All invariants of a node's heap and depot, checked by one thread that is alone. Each function returns NULL or what is
 * wrong.
 *
 * `strict`: nothing is in anybody's hands. Otherwise, as in the child of a fork, spans may be missing from their
 * lists and pages may be marked as used that no span owns, but what is linked must be right.
 */
#ifndef NEAR_TEST_HEAP_CHECK_H
#define NEAR_TEST_HEAP_CHECK_H

#include "cache/cache.h"

#define WRONG_UNLESS(condition)            \
	do {                               \
		if (!(condition))          \
			return #condition; \
	} while (0)

static inline struct span *span_or_null(uint32_t index)
{
	return index < near__pool_end(&near__spans) ? near__pool_peek(&near__spans, index) : NULL;
}

static inline struct chunk *chunk_or_null(uint32_t index)
{
	return index < near__pool_end(&near__chunks) ? near__pool_peek(&near__chunks, index) : NULL;
}

static inline struct region *region_or_null(uint32_t index)
{
	return index && index < near__pool_end(&near__regions) ? near__pool_peek(&near__regions, index) : NULL;
}

/* ---- spans ---------------------------------------------------------------------------------------- */

static inline const char *span_wrong(const struct span *span, uint32_t index)
{
	const struct class_info *class = &near__class[span->class];
	unsigned free_objects = near__bits_count(span->free, 0, SPAN_MOST_OBJECTS);

	WRONG_UNLESS(span->fresh <= class->objects);
	WRONG_UNLESS(span->used + free_objects == span->fresh);
	WRONG_UNLESS(!near__bits_any(span->free, span->fresh, SPAN_MOST_OBJECTS - span->fresh));
	WRONG_UNLESS(span->bytes == (size_t) class->pages * MAP_PAGE);
	WRONG_UNLESS(!(span->start & ((size_t) class->align * MAP_PAGE - 1)));
	for (size_t page = 0; page < class->pages; page++) {
		WRONG_UNLESS(near__pagemap_span(span->start + page * MAP_PAGE) == index);
		WRONG_UNLESS(pagemap_slot(span->start + page * MAP_PAGE) ==
			     bin_of(span->node, span->class) * BIN_WORDS);
	}
	return NULL;
}

static inline const char *bucket_wrong(const struct span_list *list, unsigned node, unsigned class, unsigned bucket,
				       uint32_t *listed, uint32_t *empties)
{
	uint32_t before = 0;

	for (uint32_t i = list->first[bucket]; i; before = i, i = span_or_null(i)->next) {
		const struct span *span = span_or_null(i);
		const char *wrong;

		WRONG_UNLESS(span && span->state == SPAN_OBJECTS);
		WRONG_UNLESS(span->class == class && span->node == node);
		WRONG_UNLESS(span->listed && span->bucket == bucket && span->prev == before);
		WRONG_UNLESS(span->used < near__class[class].objects);
		WRONG_UNLESS(span->used * SPAN_BUCKETS / near__class[class].objects == bucket);
		WRONG_UNLESS(++*listed < near__pool_end(&near__spans)); /* no ring */
		*empties += !span->used;
		wrong = span_wrong(span, i);
		if (wrong)
			return wrong;
	}
	return NULL;
}

static inline const char *list_wrong(unsigned node, unsigned class, bool strict)
{
	const struct span_list *list = &near__heap[node]->spans[class];
	uint32_t listed = 0, empties = 0, marked = 0;

	for (unsigned bucket = 0; bucket < SPAN_BUCKETS; bucket++) {
		const char *wrong = bucket_wrong(list, node, class, bucket, &listed, &empties);

		if (wrong)
			return wrong;
	}
	for (uint32_t i = 1; i < near__pool_end(&near__spans); i++) {
		const struct span *span = span_or_null(i);

		if (!span || span->state != SPAN_OBJECTS || span->node != node || span->class != class)
			continue;
		marked += span->listed;
		WRONG_UNLESS(!strict || span->listed == (span->used < near__class[class].objects));
		WRONG_UNLESS(!strict || !span_wrong(span, i));
	}
	WRONG_UNLESS(list->empties == empties);
	WRONG_UNLESS(listed == marked);
	WRONG_UNLESS(!list->lock.word);
	return NULL;
}

/* What the heap counts of its spans and objects. */
static inline const char *span_sums_wrong(unsigned node)
{
	size_t spans = 0, objects = 0;

	for (uint32_t i = 1; i < near__pool_end(&near__spans); i++) {
		const struct span *span = span_or_null(i);

		if (!span || span->state != SPAN_OBJECTS || span->node != node)
			continue;
		WRONG_UNLESS(!span->purging);
		spans += span->bytes;
		objects += (size_t)span->used * near__class[span->class].bytes;
	}
	WRONG_UNLESS(near__heap[node]->span_bytes == spans);
	WRONG_UNLESS(near__heap[node]->object_bytes == objects);
	return NULL;
}

/* ---- chunks --------------------------------------------------------------------------------------- */

static inline unsigned expected_bucket(unsigned pages)
{
	unsigned bucket = 15;

	if (pages <= 16)
		return pages - 1;
	for (unsigned size = 16; size <= CHUNK_PAGES; size *= 2) {
		for (unsigned step = size; step < 2 * size; step += size / 4)
			bucket += pages >= step;
	}
	return bucket;
}

static inline const char *runs_wrong(const struct chunk *chunk)
{
	unsigned longest = 0, on_grid = 0, run = 0, grid_run = 0, free_pages = 0, dirty_free = 0;

	for (unsigned page = 0; page < CHUNK_PAGES; page++) {
		run = bit_test(chunk->used, page) ? 0 : run + 1;
		free_pages += run > 0;
		longest = run > longest ? run : longest;
		grid_run = run && (grid_run || page % GRID_PAGES == 0) ? grid_run + 1 : 0;
		on_grid = grid_run > on_grid ? grid_run : on_grid;
		WRONG_UNLESS(!bit_test(chunk->used, page) || bit_test(chunk->dirty, page));
		dirty_free += !bit_test(chunk->used, page) && bit_test(chunk->dirty, page);
	}
	WRONG_UNLESS(chunk->free == free_pages);
	WRONG_UNLESS(chunk->dirty_free == dirty_free);
	WRONG_UNLESS(chunk->longest == longest);
	WRONG_UNLESS(chunk->on_grid == on_grid);
	WRONG_UNLESS(!longest || chunk->bucket == expected_bucket(longest));
	WRONG_UNLESS(!(chunk->base & (CHUNK_BYTES - 1)));
	return NULL;
}

/* The bitmap against the spans that live there. */
static inline const char *owners_wrong(const struct chunk *chunk, uint32_t index, bool strict)
{
	uint64_t owned[CHUNK_WORDS] = {0};

	for (uint32_t i = 1; i < near__pool_end(&near__spans); i++) {
		const struct span *span = span_or_null(i);
		unsigned at, pages;

		if (!span || (span->state != SPAN_OBJECTS && span->state != SPAN_RUN) || span->chunk != index)
			continue;
		at = (unsigned)((span->start - chunk->base) / MAP_PAGE);
		pages = (unsigned)(span->bytes / MAP_PAGE);
		WRONG_UNLESS(span->node == chunk->node);
		WRONG_UNLESS(span->start >= chunk->base && at + pages <= CHUNK_PAGES);
		WRONG_UNLESS(!near__bits_any(owned, at, pages)); /* no two spans overlap */
		near__bits_set(owned, at, pages);
	}
	for (unsigned w = 0; w < CHUNK_WORDS; w++) {
		WRONG_UNLESS(!(owned[w] & ~chunk->used[w]));
		WRONG_UNLESS(!strict || owned[w] == chunk->used[w]);
	}
	return NULL;
}

static inline const char *chunk_list_wrong(const struct chunk_heap *heap, unsigned node, unsigned bucket,
					   uint32_t *listed)
{
	uint32_t before = 0;

	WRONG_UNLESS(!heap->first[bucket] == !(heap->nonempty >> bucket & 1));
	for (uint32_t i = heap->first[bucket]; i; before = i, i = chunk_or_null(i)->next) {
		const struct chunk *chunk = chunk_or_null(i);

		WRONG_UNLESS(chunk && chunk->in_use && chunk->node == node);
		WRONG_UNLESS(chunk->bucket == bucket && chunk->prev == before && chunk->longest);
		WRONG_UNLESS(++*listed < near__pool_end(&near__chunks)); /* no ring */
	}
	return NULL;
}

static inline const char *chunks_wrong(unsigned node, bool strict)
{
	const struct chunk_heap *heap = &near__heap[node]->chunks;
	uint32_t listed = 0, with_room = 0;
	size_t committed = 0, free_bytes = 0, dirty = 0;
	const char *wrong = NULL;

	for (unsigned bucket = 0; bucket < CHUNK_BUCKETS && !wrong; bucket++)
		wrong = chunk_list_wrong(heap, node, bucket, &listed);
	for (uint32_t i = 1; i < near__pool_end(&near__chunks) && !wrong; i++) {
		const struct chunk *chunk = chunk_or_null(i);

		if (!chunk || !chunk->in_use || chunk->node != node)
			continue;
		with_room += chunk->longest > 0;
		committed += CHUNK_BYTES;
		free_bytes += (size_t)chunk->free * MAP_PAGE;
		dirty += (size_t)chunk->dirty_free * MAP_PAGE;
		wrong = runs_wrong(chunk);
		wrong = wrong ? wrong : owners_wrong(chunk, i, strict);
	}
	if (wrong)
		return wrong;
	WRONG_UNLESS(listed == with_room);
	WRONG_UNLESS(heap->committed == committed);
	WRONG_UNLESS(heap->free_bytes == free_bytes);
	WRONG_UNLESS(heap->dirty_free == dirty);
	for (unsigned i = 0; i < LENT_MOST; i++)
		WRONG_UNLESS(!strict || !heap->lent[i].pages);
	WRONG_UNLESS(!heap->lock.word);
	return NULL;
}

/* ---- regions -------------------------------------------------------------------------------------- */

/* Its chunks: all there, each inside, counted as busy or not. */
static inline const char *region_wrong(const struct region *region, uint32_t index, uint32_t *chunks)
{
	uint32_t busy = 0;
	size_t bytes = 0;

	WRONG_UNLESS(region->carved <= region->bytes && region->carved % CHUNK_BYTES == 0);
	for (uint32_t i = region->chunks; i; i = chunk_or_null(i)->sibling) {
		const struct chunk *chunk = chunk_or_null(i);

		WRONG_UNLESS(chunk && chunk->in_use && chunk->region == index && chunk->node == region->node);
		WRONG_UNLESS(chunk->base >= region->base && chunk->base - region->base < region->carved);
		WRONG_UNLESS(++*chunks < near__pool_end(&near__chunks)); /* no ring */
		busy += chunk->free < CHUNK_PAGES;
		bytes += CHUNK_BYTES;
	}
	WRONG_UNLESS(region->busy == busy);
	WRONG_UNLESS(bytes == region->carved || region->holes);
	return NULL;
}

static inline const char *regions_wrong(unsigned node, bool strict)
{
	const struct chunk_heap *heap = &near__heap[node]->chunks;
	uint32_t chunks = 0, in_list = 0, in_use = 0;
	size_t uncarved = 0;

	for (uint32_t i = heap->regions; i; i = region_or_null(i)->next) {
		const struct region *region = region_or_null(i);
		const char *wrong;

		WRONG_UNLESS(region && region->in_use && region->node == node);
		WRONG_UNLESS(++in_list < near__pool_end(&near__regions)); /* no ring */
		uncarved += region->bytes - region->carved;
		wrong = region_wrong(region, i, &chunks);
		if (wrong)
			return wrong;
	}
	for (uint32_t i = 1; i < near__pool_end(&near__regions); i++) {
		const struct region *region = region_or_null(i);

		in_use += region && region->in_use && region->node == node;
	}
	WRONG_UNLESS(in_list == in_use);
	WRONG_UNLESS(!strict || chunks * (size_t)CHUNK_BYTES == heap->committed);
	WRONG_UNLESS(!strict || heap->reserved == heap->committed + uncarved);
	return NULL;
}

/* ---- extents -------------------------------------------------------------------------------------- */

/* An extent whose neighbour is one too. */
static inline bool begins_extent(uintptr_t address, unsigned node)
{
	for (uint32_t i = 1; i < near__pool_end(&near__spans); i++) {
		const struct span *span = span_or_null(i);

		if (span && span->state == SPAN_EXTENT && span->node == node && span->start == address)
			return true;
	}
	return false;
}

static inline const char *extents_wrong(unsigned node, bool strict)
{
	const struct extent_list *list = &near__heap[node]->extents;
	uint32_t before = 0, count = 0, marked = 0;
	size_t bytes = 0;

	for (uint32_t i = list->first; i; before = i, i = span_or_null(i)->next) {
		const struct span *span = span_or_null(i);

		WRONG_UNLESS(span && span->state == SPAN_EXTENT && span->node == node && span->prev == before);
		WRONG_UNLESS(near__pagemap_span(span->start) == i);
		WRONG_UNLESS(near__pagemap_span(span->start + span->bytes - 1) == i);
		WRONG_UNLESS(pagemap_slot(span->start) == 0 && pagemap_slot(span->start + span->bytes - 1) == 0);
		WRONG_UNLESS(!strict || !begins_extent(span->start + span->bytes, node));
		WRONG_UNLESS(++count < near__pool_end(&near__spans)); /* no ring */
		bytes += span->bytes;
	}
	for (uint32_t i = 1; i < near__pool_end(&near__spans); i++) {
		const struct span *span = span_or_null(i);

		marked += span && span->state == SPAN_EXTENT && span->node == node;
	}
	WRONG_UNLESS(list->last == before);
	WRONG_UNLESS(list->count == count && count == marked);
	WRONG_UNLESS(list->bytes == bytes);
	WRONG_UNLESS(!list->lock.word);
	return NULL;
}

/* ---- depots --------------------------------------------------------------------------------------- */

static inline uint32_t stack_length(const struct stack *stack)
{
	uint32_t n = 0;

	for (uint32_t i = stack_top(stack); i; i = pool_slot(&near__magazines, i)->next)
		n++;
	return n;
}

static inline const char *depot_wrong(unsigned node)
{
	const struct depot *depot = near__depot[node];
	uint64_t bytes = 0;

	for (unsigned class = 1; class <= CLASSES; class++) {
		const struct shelf *shelf = &depot->full[class];

		for (uint32_t i = stack_top(&shelf->stack); i; i = pool_slot(&near__magazines, i)->next)
			bytes += (uint64_t)pool_slot(&near__magazines, i)->capacity * near__class[class].bytes;
		WRONG_UNLESS(shelf->held == stack_length(&shelf->stack));
		WRONG_UNLESS(shelf->least <= shelf->held);
	}
	WRONG_UNLESS(depot->bytes == bytes);
	WRONG_UNLESS(depot->empty.held == stack_length(&depot->empty.stack));
	WRONG_UNLESS(depot->empty.least <= depot->empty.held);
	return NULL;
}

static inline const char *heap_wrong(unsigned node, bool strict)
{
	const char *wrong = chunks_wrong(node, strict);

	wrong = wrong ? wrong : regions_wrong(node, strict);
	wrong = wrong ? wrong : extents_wrong(node, strict);
	for (unsigned class = 1; class <= CLASSES && !wrong; class ++)
		wrong = list_wrong(node, class, strict);
	if (!wrong && strict)
		wrong = span_sums_wrong(node);
	if (!wrong && strict && near__depot[node])
		wrong = depot_wrong(node);
	return wrong;
}

#endif
