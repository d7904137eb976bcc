/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Large blocks: a run of a chunk up to 1 MiB, beyond it a mapping of its own.
 *
 * Only the first page of a large block is in the page map. The way through a fresh mapping takes no lock at all,
 * so it is also what a signal handler falls back to that interrupted the allocator under a lock.
 */
#include <errno.h>

#include "base/conf.h"
#include "heap/extent.h"
#include "heap/limit.h"
#include "heap/purge.h"
#include "heap/retain.h"
#include "os/os.h"

static struct span *span_at(uint32_t index)
{
	return pool_record(&near__spans, index);
}

size_t near__large_bytes(size_t size)
{
	size_t page = size_max(near__os_page_size, MAP_PAGE);

	return size > (size_t)PTRDIFF_MAX - page ? 0 : round_up(size_max(size, 1), page);
}

/* ---- blocks --------------------------------------------------------------------------------------- */

static bool take_mapping(struct span *span, size_t align)
{
	void *start;

	if (!near__limit_allows(span->bytes))
		return false;
	start = near__os_map(span->bytes, size_max(align, near__os_page_size));
	if (!start)
		return false;
	if (!near__pagemap_cover((uintptr_t)start, MAP_PAGE)) {
		near__os_discard(start, span->bytes);
		return false;
	}
	near__numa_bind(start, span->bytes, span->node);
	if (near__numa_claim(start, span->bytes, span->node)) {
		near__os_discard(start, span->bytes);
		return false;
	}
	span->start = (uintptr_t)start;
	store_release(&span->state, (uint32_t)SPAN_MAPPED);
	near__limit_note_mapped(span->bytes, true);
	near__regret_taken(&near__heap[span->node]->extents.regret, span->bytes, load_relaxed(&near__conf.extent_cache));
	return true;
}

static void *publish(struct span *span, uint32_t index)
{
	near__pagemap_set(span->start, 1, 0, index);
	return (void *)span->start;
}

static void *from_extents(size_t bytes, size_t align, unsigned node, bool zeros);

void *near__large_alloc(size_t size, size_t align, unsigned node, bool *zeroed)
{
	size_t bytes = near__large_bytes(size);
	bool zeros = *zeroed;
	uint32_t index;
	void *block;

	if (!bytes)
		return NULL;
	*zeroed = false;
	align = size_max(align, MAP_PAGE);
	if (bytes > RUN_LARGEST && (block = from_extents(bytes, align, node, zeros)))
		return block;

	index = near__pool_take(&near__spans, node);
	if (!index)
		return NULL;

	struct span *span = span_at(index);

	span_renew(span, 0, bytes, 0, node);
	if (bytes <= RUN_LARGEST && align <= RUN_LARGEST && near__chunk_take(span, align, SPAN_RUN, zeroed))
		return publish(span, index);
	*zeroed = true;
	if (take_mapping(span, align))
		return publish(span, index);
	near__pool_give(&near__spans, index);
	return NULL;
}

void near__large_bind(void)
{
	uint32_t end = near__pool_end(&near__spans);

	for (uint32_t i = POOL_FIRST; i < end; i++) {
		const struct span *span = near__pool_peek(&near__spans, i);

		if (span && load_acquire(&span->state) == SPAN_MAPPED)
			near__numa_move((void *)span->start, span->bytes, span->node);
	}
}

bool near__large_free(struct span *span, uint32_t index)
{
	uint32_t state = load_acquire(&span->state);

	/* Whoever makes it SPAN_HELD has freed it; a second free of the same block meets that or a cleared page map. */
	if ((state != SPAN_RUN && state != SPAN_MAPPED) || !cas_acq_rel(&span->state, &state, (uint32_t)SPAN_HELD))
		return false;
	near__pagemap_set(span->start, 1, 0, 0);
	if (state == SPAN_RUN) {
		near__chunk_give(span, index);
		return true;
	}
	near__limit_note_mapped(span->bytes, false);
	near__extent_give(index);
	return true;
}

/* A new place that the page map covers; the kernel moves the pages there. */
static void *move(struct span *span, size_t bytes)
{
	void *target = near__os_map(bytes, near__os_page_size);

	if (!target)
		return NULL;
	if (!near__pagemap_cover((uintptr_t)target, MAP_PAGE)) {
		near__os_discard(target, bytes);
		return NULL;
	}
	return near__os_move((void *)span->start, span->bytes, target, bytes) ? NULL : target;
}

/* What a mapping has grown by must lie on the node, where that is asked for. Else it shrinks again: the caller copies. */
static bool claim_growth(struct span *span, size_t old_bytes)
{
	char *end = (char *)span->start + old_bytes;

	if (span->bytes <= old_bytes || !near__numa_claim(end, span->bytes - old_bytes, span->node))
		return true;
	near__os_discard(end, span->bytes - old_bytes);
	span->bytes = old_bytes;
	return false;
}

/* The page map must not name the old place while another thread may be given it. */
static void *remap(struct span *span, uint32_t index, size_t bytes)
{
	void *start = (void *)span->start;
	size_t old_bytes = span->bytes;
	int error = near__os_resize(start, span->bytes, bytes);

	if (error) {
		/* Only for want of room: a block that the program has locked or split with madvise cannot be moved. */
		if (error != ENOMEM || bytes < span->bytes || near__topology.strict)
			return NULL;
		near__pagemap_set(span->start, 1, 0, 0);
		start = move(span, bytes);
		if (!start) {
			near__pagemap_set(span->start, 1, 0, index);
			return NULL;
		}
		span->start = (uintptr_t)start;
	}
	span->bytes = bytes;
	publish(span, index);
	return claim_growth(span, old_bytes) ? start : NULL;
}

void *near__large_resize(struct span *span, uint32_t index, size_t size)
{
	size_t bytes = near__large_bytes(size), before = span->bytes;
	void *block;

	if (!bytes)
		return NULL;
	if (bytes == span->bytes)
		return (void *)span->start;
	if (span->state == SPAN_RUN)
		return bytes <= RUN_LARGEST && near__chunk_resize(span, bytes) ? (void *)span->start : NULL;
	if (bytes <= RUN_LARGEST || (bytes > before && !near__limit_allows(bytes - before)))
		return NULL;
	/* The old place may vanish: first out of the sight of walkers, then not while there are some. */
	store_release(&span->state, (uint32_t)SPAN_HELD);
	block = near__walk_none() ? remap(span, index, bytes) : NULL;
	if (block)
		span->rigid = false;
	near__limit_note_mapped(span->bytes - before, true);
	store_release(&span->state, (uint32_t)SPAN_MAPPED);
	return block;
}

/* ---- kept mappings --------------------------------------------------------------------------------- */

/* The kernel does not merge what was moved with its neighbours, and has a limit of mappings: 65,530, unless it was set. */
#define GROW_MOST (16 * GIB)

/* Not where a mapping that is in our hands and cannot grow could not be given back either. */
static bool may_grow(unsigned node)
{
	return load_relaxed(&near__heap[node]->extents.bytes) && near__limit_mapped() < GROW_MOST && near__walk_none() &&
	       near__purge_may_wait();
}

/*
 * A kept mapping that is too small, and the rest. Its pages are there already, and would lie there until they decay. It is
 * SPAN_HELD until it has grown: the page map may name it meanwhile, where a block began that the program has freed.
 */
static void *grow_extent(unsigned node, size_t bytes)
{
	uint32_t index = may_grow(node) ? near__extent_take_smaller(node, bytes) : 0;
	struct span *span;
	size_t before;
	void *block = NULL;

	if (!index)
		return NULL;
	span = span_at(index);
	before = span->bytes;
	near__limit_note_mapped(before, true);
	if (near__pagemap_cover(span->start, MAP_PAGE)) {
		if (near__walk_none() && near__limit_allows(bytes - before))
			span->rigid = !(block = remap(span, index, bytes));
		if (!block)
			near__pagemap_set(span->start, 1, 0, 0);
	}
	if (!block) {
		near__limit_note_mapped(before, false);
		near__extent_give(index);
		return NULL;
	}
	near__limit_note_mapped(span->bytes - before, true);
	near__regret_taken(&near__heap[node]->extents.regret, bytes - before, load_relaxed(&near__conf.extent_cache));
	store_release(&span->state, (uint32_t)SPAN_MAPPED);
	return block;
}

static void *from_extents(size_t bytes, size_t align, unsigned node, bool zeros)
{
	uint32_t index = near__extent_take(node, bytes, align);

	if (!index)
		return zeros || align > near__os_page_size ? NULL : grow_extent(node, bytes);
	if (!near__pagemap_cover(span_at(index)->start, MAP_PAGE)) { /* what was cut off in another leaf, and no memory for it */
		store_release(&span_at(index)->state, (uint32_t)SPAN_HELD);
		near__extent_give(index);
		return NULL;
	}
	near__limit_note_mapped(span_at(index)->bytes, true);
	return publish(span_at(index), index);
}
