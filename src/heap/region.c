/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Regions: address space of one node, reserved without memory, bound to the node once and committed chunk by
 * chunk from the bottom, so that each costs two mappings of the kernel's whatever it grows to.
 *
 * A region goes when nothing of it is used. It is unlinked with its chunks under the lock, and unmapped without it when
 * all walkers that may still read it have left.
 */
#include <errno.h>

#include "base/conf.h"
#include "heap/huge.h"
#include "heap/purge.h"
#include "heap/retain.h"
#include "os/os.h"

enum { REGION_FIRST = 64 << 20 };
#define REGION_LARGEST (64 * GIB)

POOL_DEFINE(near__regions, sizeof(struct region), CACHE_LINE);

static struct region *region_at(uint32_t index)
{
	return pool_record(&near__regions, index);
}

static struct chunk *chunk_at(uint32_t index)
{
	return pool_record(&near__chunks, index);
}

/* As much as was reserved so far, within limits, and what can be had of it. 0: none. */
static uint32_t reserve(struct chunk_heap *heap, unsigned node)
{
	size_t bytes = size_min(size_max(heap->reserved, REGION_FIRST), REGION_LARGEST);
	size_t allowed = near__os_address_limit() / 8;
	uint32_t index = 0;
	void *base = NULL;

	bytes = size_max(size_min(bytes, round_down(allowed, CHUNK_BYTES)), CHUNK_BYTES);
	while (!(base = near__os_reserve(bytes, CHUNK_BYTES)) && bytes > CHUNK_BYTES)
		bytes = round_down(bytes / 2, CHUNK_BYTES);
	if (!base)
		return 0;
	if (near__pagemap_cover((uintptr_t)base, bytes))
		index = near__pool_take(&near__regions, node);
	if (!index) {
		near__os_discard(base, bytes);
		return 0;
	}
	near__os_huge(base, bytes, near__conf.thp == CONF_THP_ALWAYS);
	near__numa_bind(base, bytes, node);
	region_renew(region_at(index), (uintptr_t)base, bytes, heap->regions, node);
	store_release(&region_at(index)->in_use, (uint8_t)true);
	heap->reserved += bytes;
	heap->regions = index;
	return index;
}

void near__region_bind(unsigned node)
{
	uint32_t end = near__pool_end(&near__regions);

	for (uint32_t i = POOL_FIRST; i < end; i++) {
		const struct region *region = near__pool_peek(&near__regions, i);

		if (region && load_acquire(&region->in_use) && region->node == node)
			near__numa_move((void *)region->base, region->bytes, node);
	}
}

static bool has_room(uint32_t index)
{
	return index && region_at(index)->bytes - region_at(index)->carved >= CHUNK_BYTES;
}

/* Full ones second: only the first is asked for room. */
static void link_region(struct chunk_heap *heap, uint32_t index)
{
	uint32_t *link = heap->regions && !has_room(index) ? &region_at(heap->regions)->next : &heap->regions;

	region_at(index)->next = *link;
	*link = index;
}

static bool carve_from(uint32_t index, uint32_t chunk)
{
	struct region *region = region_at(index);
	uintptr_t base = region->base + region->carved;

	if (near__os_commit((void *)base, CHUNK_BYTES))
		return false;
	store_relaxed(&region->carved, region->carved + CHUNK_BYTES);
	chunk_at(chunk)->base = base;
	chunk_at(chunk)->region = index;
	chunk_at(chunk)->sibling = region->chunks;
	region->chunks = chunk;
	return true;
}

void near__region_huge(void)
{
	uint32_t end = near__pool_end(&near__regions);

	for (uint32_t i = POOL_FIRST; i < end; i++) {
		const struct region *region = near__pool_peek(&near__regions, i);

		if (region && load_acquire(&region->in_use))
			near__os_huge((void *)region->base, region->bytes, true);
	}
}

bool near__region_carve(struct chunk_heap *heap, unsigned node, uint32_t chunk)
{
	/* Only the newest is asked: a region is left for good when it is full. */
	uint32_t index = has_room(heap->regions) ? heap->regions : reserve(heap, node);

	return index && carve_from(index, chunk);
}

void near__region_count(uint32_t region, bool busier)
{
	store_relaxed(&region_at(region)->busy, region_at(region)->busy + (busier ? 1u : -1u));
}

/* ---- giving back; see purge.h ----------------------------------------------------------------------- */

/* What a chunk adds to the sums of its heap; it is whole and free. */
static void add_chunk(struct chunk_heap *heap, const struct chunk *chunk, bool there)
{
	size_t sign = there ? 1 : (size_t)-1;

	store_relaxed(&heap->committed, heap->committed + sign * CHUNK_BYTES);
	store_relaxed(&heap->free_bytes, heap->free_bytes + sign * CHUNK_BYTES);
	store_relaxed(&heap->dirty_free, heap->dirty_free + sign * chunk->dirty_free * MAP_PAGE);
	store_relaxed(&heap->reserved, heap->reserved + sign * CHUNK_BYTES);
}

static void hide_chunk(struct chunk_heap *heap, struct chunk *chunk)
{
	near__chunk_unlink(heap, chunk);
	store_release(&chunk->in_use, (uint8_t)false);
	add_chunk(heap, chunk, false);
	compiler_barrier();
}

/* The kernel has refused to unmap it. */
static void show_chunk(struct chunk_heap *heap, struct chunk *chunk, uint32_t index)
{
	add_chunk(heap, chunk, true);
	store_release(&chunk->in_use, (uint8_t)true);
	near__chunk_settle(heap, chunk, index);
}

static void note_gone(struct chunk_heap *heap, const struct chunk *chunk)
{
	size_t bytes = chunk->dirty_free * (size_t)MAP_PAGE;

	store_relaxed(&heap->given_back, heap->given_back + bytes);
	near__regret_given(&heap->regret, near__heap_resident(chunk->node, bytes));
}

/* What the kernel has refused once is tried again when it was used, or when somebody insists. */
static bool is_idle(const struct region *region, unsigned age)
{
	return !region->busy && region->age >= age && (!age || region->age != REGION_REFUSED);
}

/* An idle region, unlinked with its chunks; 0: there is none. Under the lock. */
static uint32_t unlink_idle(struct chunk_heap *heap, unsigned age)
{
	uint32_t *link = &heap->regions, index;

	while ((index = *link) && !is_idle(region_at(index), age))
		link = &region_at(index)->next;
	if (!index)
		return 0;
	*link = region_at(index)->next;
	store_release(&region_at(index)->in_use, (uint8_t)false);
	for (uint32_t chunk = region_at(index)->chunks; chunk; chunk = chunk_at(chunk)->sibling) {
		note_gone(heap, chunk_at(chunk));
		hide_chunk(heap, chunk_at(chunk));
	}
	heap->reserved -= region_at(index)->bytes - region_at(index)->carved;
	return index;
}

/* The record of its newest chunk, which is unmapped. */
static void forget_chunk(struct region *region)
{
	uint32_t chunk = region->chunks;

	region->chunks = chunk_at(chunk)->sibling;
	near__huge_forget(chunk_at(chunk));
	near__pool_give(&near__chunks, chunk);
}

/* Chunk by chunk where there are holes, in which others may live. On failure those that are gone are not its any more. */
static int unmap_region(struct region *region)
{
	if (!region->holes)
		return near__os_unmap((void *)region->base, region->bytes);
	if (region->carved < region->bytes) {
		if (near__os_unmap((void *)(region->base + region->carved), region->bytes - region->carved))
			return ENOMEM;
		region->bytes = region->carved;
	}
	while (region->chunks) {
		if (near__os_unmap((void *)chunk_at(region->chunks)->base, CHUNK_BYTES))
			return ENOMEM;
		forget_chunk(region);
	}
	return 0;
}

/* There are walkers, or the kernel refuses (its limit of mappings): it stays, empty and without its memory. */
static void keep_region(struct chunk_heap *heap, uint32_t index, bool refused)
{
	struct region *region = region_at(index);

	for (uint32_t chunk = region->chunks; chunk; chunk = chunk_at(chunk)->sibling) {
		if (!near__os_purge((void *)chunk_at(chunk)->base, CHUNK_BYTES))
			near__bits_clear(chunk_at(chunk)->dirty, 0, CHUNK_PAGES);
	}
	if (!lock_acquire(&heap->lock))
		return;
	for (uint32_t chunk = region->chunks; chunk; chunk = chunk_at(chunk)->sibling)
		show_chunk(heap, chunk_at(chunk), chunk);
	heap->reserved += region->bytes - region->carved;
	region->age = refused ? REGION_REFUSED : 0;
	store_release(&region->in_use, (uint8_t)true);
	link_region(heap, index);
	lock_release(&heap->lock);
}

void near__region_look(unsigned node, bool *left)
{
	struct chunk_heap *heap = &near__heap[node]->chunks;

	if (!lock_acquire(&heap->lock))
		return;
	for (uint32_t i = heap->regions; i; i = region_at(i)->next) {
		struct region *region = region_at(i);

		if (region->busy)
			region->age = 0;
		else if (region->age < REGION_REFUSED - 1)
			region->age++;
		*left |= !region->busy && region->age != REGION_REFUSED;
	}
	lock_release(&heap->lock);
}

size_t near__region_release(unsigned node, unsigned age, bool wait)
{
	struct chunk_heap *heap = &near__heap[node]->chunks;
	size_t bytes = 0;
	uint32_t index;

	while (near__purge_may_wait() && lock_acquire(&heap->lock)) {
		size_t size;
		bool left;

		index = unlink_idle(heap, age);
		lock_release(&heap->lock);
		if (!index)
			break;
		size = region_at(index)->bytes;
		left = wait ? near__walk_left() : near__walk_none();
		if (!left || unmap_region(region_at(index))) {
			keep_region(heap, index, left);
			break;
		}
		bytes += size;
		while (region_at(index)->chunks)
			forget_chunk(region_at(index));
		near__pool_give(&near__regions, index);
	}
	return bytes;
}

/* An empty chunk. The region keeps a hole there. False: the kernel refuses, and all is as before. */
static bool unmap_chunk(struct chunk_heap *heap, struct chunk *chunk, uint32_t index)
{
	struct region *region = region_at(chunk->region);
	uint32_t *link = &region->chunks;

	hide_chunk(heap, chunk);
	if (near__os_unmap((void *)chunk->base, CHUNK_BYTES)) {
		show_chunk(heap, chunk, index);
		return false;
	}
	note_gone(heap, chunk);
	near__huge_forget(chunk);
	while (*link != index)
		link = &chunk_at(*link)->sibling;
	*link = chunk->sibling;
	region->holes = true;
	return true;
}

void near__chunk_release(unsigned node)
{
	struct chunk_heap *heap = &near__heap[node]->chunks;
	uint32_t end = near__pool_end(&near__chunks);

	for (uint32_t i = POOL_FIRST; i < end; i++) {
		struct chunk *chunk = near__pool_peek(&near__chunks, i);
		bool gone = false;

		if (!chunk || !load_acquire(&chunk->in_use) || chunk->node != node ||
		    load_relaxed(&chunk->free) != CHUNK_PAGES || !lock_acquire(&heap->lock))
			continue;
		/* Spans were there, and their states changed before this: no walker that comes later looks for them here. */
		if (chunk->in_use && chunk->node == node && chunk->free == CHUNK_PAGES && near__walk_none())
			gone = unmap_chunk(heap, chunk, i);
		lock_release(&heap->lock);
		if (gone)
			near__pool_give(&near__chunks, i);
	}
}

/* ---- the child of a fork ---------------------------------------------------------------------------- */

/* Their chunks anew: one may have been on its way in or out, and then others may live in its place. */
static void relink_chunks(unsigned node)
{
	uint32_t regions = near__pool_end(&near__regions), chunks = near__pool_end(&near__chunks);

	for (uint32_t i = POOL_FIRST; i < chunks; i++) {
		struct chunk *chunk = near__pool_peek(&near__chunks, i);

		if (!chunk || !chunk->in_use || chunk->node != node)
			continue;
		chunk->sibling = region_at(chunk->region)->chunks;
		region_at(chunk->region)->chunks = i;
		region_at(chunk->region)->busy++; /* until it is settled */
	}
	for (uint32_t i = POOL_FIRST; i < regions; i++) {
		struct region *region = near__pool_peek(&near__regions, i);

		if (region && region->in_use && region->node == node)
			region->holes |= region->busy * (size_t)CHUNK_BYTES != region->carved;
	}
}

void near__region_rebuild(struct chunk_heap *heap, unsigned node)
{
	uint32_t end = near__pool_end(&near__regions);

	heap->regions = 0;
	heap->reserved = 0;
	for (uint32_t i = POOL_FIRST; i < end; i++) {
		struct region *region = near__pool_peek(&near__regions, i);

		if (!region || !region->in_use || region->node != node)
			continue;
		region->busy = region->chunks = 0;
		heap->reserved += region->bytes - region->carved;
		link_region(heap, i);
	}
	relink_chunks(node);
}
