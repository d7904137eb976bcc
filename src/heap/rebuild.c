/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Making heaps, and mending them in the child of a fork.
 *
 * The child sees of every other thread a prefix of its stores, in a cut that is consistent between threads. So
 * what a dead thread held a lock for is in some state between two of its stores, and everything but the span
 * records can be computed from those. What the thread had in its hands is lost to the child, and nothing else.
 */
#include "heap/extent.h"
#include "heap/purge.h"
#include "meta/arena.h"
#include "os/os.h"

unsigned near__nodes;
struct heap *near__heap[OS_MAX_NODES];
uint64_t near__heap_lost;
bool near__heap_forked;

static struct lock first_lock;

bool near__heap_start(unsigned node)
{
	static uint16_t order[OS_MAX_NODES];
	unsigned sources = near__numa_order(node, order);
	struct source *source = near__arena_alloc(sources * sizeof(*source), CACHE_LINE, node);

	if (!near__heap[node])
		near__heap[node] = near__arena_alloc(sizeof(struct heap), CACHE_LINE_PAIR, node);
	if (!near__heap[node] || !source)
		return false;
	for (unsigned i = 0; i < sources; i++)
		source[i].node = order[i];
	near__heap[node]->chunks.used_density = near__heap[node]->chunks.free_density = 256; /* until samples were taken */
	near__heap[node]->source = source;
	store_release(&near__heap[node]->sources, sources);
	return true;
}

void near__heap_populate(unsigned node)
{
	uint32_t end = near__pool_end(&near__spans);

	for (uint32_t i = POOL_FIRST; i < end; i++) {
		const struct span *span = near__pool_peek(&near__spans, i);
		uint32_t state = span ? load_acquire(&span->state) : SPAN_UNUSED;

		if ((state == SPAN_OBJECTS || state == SPAN_RUN || state == SPAN_MAPPED) && span->node == node)
			near__os_populate((void *)span->start, span->bytes);
	}
}

void near__heap_note_fallback(unsigned node, unsigned i, size_t bytes)
{
	struct source *source = &near__heap[node]->source[i];

	count_lossy(&source->blocks, 1ull);
	count_lossy(&source->bytes, bytes);
}

bool near__heap_first(void)
{
	if (!lock_acquire(&first_lock))
		return false;
	if (!near__nodes) {
		near__os_start();
		near__classes_start();
		if (near__heap_start(0))
			store_release(&near__nodes, 1u);
	}
	lock_release(&first_lock);
	return load_relaxed(&near__nodes) != 0;
}

static void relink_spans(struct heap *heap, unsigned node, unsigned class)
{
	struct span_list *list = &heap->spans[class];
	uint32_t end = near__pool_end(&near__spans);

	list->empties = 0;
	for (unsigned i = 0; i < SPAN_BUCKETS; i++)
		list->first[i] = 0;
	for (uint32_t i = POOL_FIRST; i < end; i++) {
		struct span *span = near__pool_peek(&near__spans, i);

		if (span && span->state == SPAN_OBJECTS && span->node == node && span->class == class)
			near__span_relink(list, span, i);
	}
}

static void relink_extents(struct heap *heap, unsigned node)
{
	uint32_t end = near__pool_end(&near__spans);

	heap->extents.first = heap->extents.last = heap->extents.count = 0;
	heap->extents.bytes = 0;
	for (uint32_t i = POOL_FIRST; i < end; i++) {
		struct span *span = near__pool_peek(&near__spans, i);

		if (span && span->state == SPAN_EXTENT && span->node == node)
			near__extent_relink(&heap->extents, span, i);
	}
}

static bool lends(const struct chunk_heap *heap)
{
	bool any = false;

	for (unsigned i = 0; i < LENT_MOST; i++)
		any |= heap->lent[i].pages;
	return any;
}

/*
 * What a dead purger had out of circulation without holding the lock of what it belongs to. Nobody else is about yet, so
 * a lock that is free need not be taken; where the thread that came along holds it, whoever purges next does this.
 */
static void take_back_purged(void)
{
	for (unsigned node = 0; node < near__nodes; node++) {
		struct chunk_heap *heap = &near__heap[node]->chunks;

		if (lends(heap) && !load_relaxed(&heap->lock.word))
			near__chunk_rebuild(node);
	}
	for (unsigned i = 0; i < LENT_MOST; i++) {
		struct span *span = near__purging_spans[i] ? pool_record(&near__spans, near__purging_spans[i]) : NULL;
		struct span_list *list = span && span->purging ? &near__heap[span->node]->spans[span->class] : NULL;

		if (list && load_relaxed(&list->lock.word))
			continue;
		if (list) {
			span->purging = false;
			span->age = 0;
			near__span_relink(list, span, near__purging_spans[i]);
		}
		near__purging_spans[i] = 0;
	}
}

/* Who touched them did not come along, or will say so itself. */
static void end_touches(void)
{
	uint32_t end = near__pool_end(&near__chunks);

	for (uint32_t i = POOL_FIRST; i < end; i++) {
		struct chunk *chunk = near__pool_peek(&near__chunks, i);

		if (chunk && load_relaxed(&chunk->touching))
			store_relaxed(&chunk->touching, (uint8_t)false);
	}
}

void near__heap_after_fork(void)
{
	bool purger_died;

	near__heap_forked = true;
	end_touches();
	near__purger_survives = lock_is_survivors(&near__purge_lock);
	purger_died = lock_inherit(&near__purge_lock);
	if (lock_inherit(&first_lock))
		lock_release(&first_lock);
	for (unsigned node = 0; node < near__nodes; node++) {
		struct heap *heap = near__heap[node];

		if (lock_inherit(&heap->chunks.lock)) {
			near__chunk_rebuild(node);
			lock_release(&heap->chunks.lock);
		}
		if (lock_inherit(&heap->extents.lock)) {
			relink_extents(heap, node);
			lock_release(&heap->extents.lock);
		}
		for (unsigned class = 1; class <= CLASSES; class++) {
			if (lock_inherit(&heap->spans[class].lock)) {
				relink_spans(heap, node, class);
				lock_release(&heap->spans[class].lock);
			}
		}
	}
	if (purger_died) {
		take_back_purged();
		lock_release(&near__purge_lock);
	}
}

static bool holds_one_of(const struct heap *heap)
{
	for (unsigned class = 1; class <= CLASSES; class++) {
		if (lock_is_mine(&heap->spans[class].lock))
			return true;
	}
	return lock_is_mine(&heap->chunks.lock) || lock_is_mine(&heap->extents.lock);
}

bool near__heap_lock_held(void)
{
	for (unsigned node = 0; node < near__nodes; node++) {
		if (holds_one_of(near__heap[node]))
			return true;
	}
	return lock_is_mine(&first_lock);
}
