/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Walks. Records are type-stable and read without locks; what they name can be unmapped, so the visitor is called inside a
 * walk of os/walk.c, and a record is read again there before its range is handed on. Bitmaps are copied under their lock,
 * which is released before anybody is called.
 */
#include "watch/walk.h"

#include <errno.h>

#include "cache/cache.h"
#include "heap/purge.h"
#include "meta/arena.h"
#include "os/os.h"

struct walk {
	int (*visit)(const struct near_range *range, void *argument);
	void *argument;
	int result;
};

static void hand_on(struct walk *walk, uintptr_t start, size_t bytes, uint32_t kind, unsigned node)
{
	struct near_range range = {.start = (const void *)start, .bytes = bytes, .kind = kind};

	range.node = near__topology.bound ? (int)near__topology.kernel_node[node] : -1;
	if (!walk->result && bytes)
		walk->result = walk->visit(&range, walk->argument);
}

/* ---- free pages of chunks --------------------------------------------------------------------------- */

static void walk_chunk(struct walk *walk, const struct chunk *chunk)
{
	unsigned node = load_relaxed(&chunk->node), at = 0;
	struct chunk_heap *heap = &near__heap[node]->chunks;
	uint64_t used[CHUNK_WORDS];
	uintptr_t base;
	bool here;

	if (!lock_acquire(&heap->lock))
		return;
	/* Before the lock it may have become another chunk, of any node. */
	here = chunk->in_use && chunk->node == node;
	base = chunk->base;
	for (unsigned w = 0; w < CHUNK_WORDS; w++)
		used[w] = here ? chunk->used[w] : ~0ull;
	lock_release(&heap->lock);
	while ((at = bits_next_clear(used, at, CHUNK_PAGES)) < CHUNK_PAGES) {
		unsigned end = bits_next_set(used, at, CHUNK_PAGES);

		hand_on(walk, base + (size_t)at * MAP_PAGE, (size_t)(end - at) * MAP_PAGE, NEAR_RANGE_FREE, node);
		at = end;
	}
}

/* ---- spans ------------------------------------------------------------------------------------------ */

/* Whole pages of nothing but free objects are holes, the rest objects. */
static void walk_objects(struct walk *walk, struct span *span)
{
	const struct class_info *class = &near__class[span->class];
	struct span_list *list = &near__heap[span->node]->spans[span->class];
	uint64_t free[SPAN_WORDS];
	uintptr_t start = span->start, at = start, end = start + span->bytes;
	unsigned fresh, node = span->node;

	if (!lock_acquire(&list->lock))
		return;
	fresh = span->state == SPAN_OBJECTS && span->start == start ? span->fresh : UINT16_MAX;
	for (unsigned w = 0; w < SPAN_WORDS; w++)
		free[w] = span->free[w];
	lock_release(&list->lock);
	if (fresh > class->objects)
		return;
	for (unsigned object = 0; object < class->objects; object++) {
		unsigned first = object;

		while (object < class->objects && (object >= fresh || bit_test(free, object)))
			object++;

		uintptr_t from = round_up(start + first * (size_t)class->bytes, MAP_PAGE);
		uintptr_t to = object < class->objects ? round_down(start + object * (size_t)class->bytes, MAP_PAGE) : end;

		if (object == first || to <= from)
			continue;
		hand_on(walk, at, from - at, NEAR_RANGE_OBJECTS, node);
		hand_on(walk, from, to - from, NEAR_RANGE_HOLE, node);
		at = to;
	}
	hand_on(walk, at, end - at, NEAR_RANGE_OBJECTS, node);
}

/* Unless the record has become that of another block meanwhile. */
static void walk_block(struct walk *walk, const struct span *span, uint32_t state)
{
	uintptr_t start = load_acquire(&span->start);
	size_t bytes = load_acquire(&span->bytes);
	unsigned node = load_acquire(&span->node);

	if (load_acquire(&span->state) == state && load_relaxed(&span->start) == start)
		hand_on(walk, start, bytes, state == SPAN_EXTENT ? NEAR_RANGE_KEPT : NEAR_RANGE_LARGE, node);
}

static void walk_span(struct walk *walk, struct span *span)
{
	uint32_t state = load_acquire(&span->state);

	if (state == SPAN_OBJECTS)
		walk_objects(walk, span);
	else if (state == SPAN_RUN || state == SPAN_MAPPED || state == SPAN_EXTENT)
		walk_block(walk, span, state);
}

/* ---- all -------------------------------------------------------------------------------------------- */

static void walk_metadata(void *start, size_t bytes, void *walk)
{
	hand_on(walk, (uintptr_t)start, bytes, NEAR_RANGE_METADATA, 0);
}

int near__walk(int (*visit)(const struct near_range *range, void *argument), void *argument)
{
	struct walk walk = {.visit = visit, .argument = argument};
	uint32_t chunks = near__pool_end(&near__chunks), spans = near__pool_end(&near__spans);

	for (uint32_t i = POOL_FIRST; i < chunks && !walk.result; i++) {
		struct chunk *chunk = near__pool_peek(&near__chunks, i);
		bool known = near__walk_begin();

		if (chunk && load_acquire(&chunk->in_use))
			walk_chunk(&walk, chunk);
		near__walk_end(known);
	}
	for (uint32_t i = POOL_FIRST; i < spans && !walk.result; i++) {
		struct span *span = near__pool_peek(&near__spans, i);
		bool known;

		if (!span || load_acquire(&span->state) == SPAN_UNUSED)
			continue;
		known = near__walk_begin();
		walk_span(&walk, span);
		near__walk_end(known);
	}
	near__arena_visit(walk_metadata, &walk);
	return walk.result;
}

/* ---- what is resident ------------------------------------------------------------------------------- */

enum { BATCH_PAGES = 4096 };

struct count {
	struct near_residence *out;
	unsigned char *resident; /* BATCH_PAGES */
};

static uint64_t *member_of(struct near_residence *out, uint32_t kind)
{
	uint64_t *const members[] = {
		[NEAR_RANGE_OBJECTS] = &out->objects, [NEAR_RANGE_HOLE] = &out->holes,
		[NEAR_RANGE_LARGE] = &out->large,     [NEAR_RANGE_FREE] = &out->free,
		[NEAR_RANGE_KEPT] = &out->kept,	      [NEAR_RANGE_METADATA] = &out->metadata,
	};

	return members[kind];
}

/* Where pages are larger than ours a range may begin inside one: then the page counts for each. */
static int count_range(const struct near_range *range, void *argument)
{
	const struct count *count = argument;
	uintptr_t at = round_down((uintptr_t)range->start, near__os_page_size);
	uintptr_t end = round_up((uintptr_t)range->start + range->bytes, near__os_page_size);
	uint64_t pages = 0;

	while (at < end) {
		size_t n = size_min((end - at) / near__os_page_size, BATCH_PAGES);

		int error = near__os_residence((void *)at, n * near__os_page_size, count->resident);

		if (error)
			return error;
		for (size_t i = 0; i < n; i++)
			pages += count->resident[i] & 1;
		at += n * near__os_page_size;
	}
	*member_of(count->out, range->kind) += pages * near__os_page_size;
	count->out->total += pages * near__os_page_size;
	return 0;
}

int near__residence(struct near_residence *out)
{
	size_t bytes = round_up(BATCH_PAGES, near__os_page_size);
	struct count count = {.out = out, .resident = near__os_map(bytes, near__os_page_size)};
	int error;

	*out = (struct near_residence){0};
	if (!count.resident)
		return ENOMEM;
	error = near__walk(count_range, &count);

	near__os_discard(count.resident, bytes);
	return error;
}
