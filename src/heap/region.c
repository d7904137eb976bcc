/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Regions: address space of one node, reserved without memory, bound to the node once and committed chunk by
 * chunk from the bottom, so that each costs two mappings of the kernel's whatever it grows to.
 */
#include "heap/heap.h"
#include "meta/arena.h"
#include "os/os.h"

enum { REGION_FIRST = 64 << 20 };
#define REGION_LARGEST (64 * GIB)

/* As much as was reserved so far, within limits, and what can be had of it. */
static struct region *reserve(struct chunk_heap *heap, unsigned node)
{
	size_t bytes = size_min(size_max(heap->reserved, REGION_FIRST), REGION_LARGEST);
	size_t allowed = near__os_address_limit() / 8;
	struct region *region = NULL;
	void *base = NULL;

	bytes = size_max(size_min(bytes, round_down(allowed, CHUNK_BYTES)), CHUNK_BYTES);
	while (!(base = near__os_reserve(bytes, CHUNK_BYTES)) && bytes > CHUNK_BYTES)
		bytes = round_down(bytes / 2, CHUNK_BYTES);
	if (!base)
		return NULL;
	/* The record comes last: records are never given back, and this may fail again and again. */
	if (near__pagemap_cover((uintptr_t)base, bytes))
		region = near__arena_alloc(sizeof(*region), CACHE_LINE, node);
	if (!region) {
		near__os_unmap(base, bytes);
		return NULL;
	}
	near__numa_bind(base, bytes, node);
	region->base = (uintptr_t)base;
	region->bytes = bytes;
	region->next = heap->regions;
	heap->reserved += bytes;
	store_release(&heap->regions, region);
	return region;
}

void near__region_bind(unsigned node)
{
	const struct region *region = load_acquire(&near__heap[node]->chunks.regions);

	for (; region; region = region->next)
		near__numa_move((void *)region->base, region->bytes, node);
}

static bool has_room(const struct region *region)
{
	return region && region->bytes - region->carved >= CHUNK_BYTES;
}

static bool carve_from(struct region *region, uintptr_t *base)
{
	*base = region->base + region->carved;
	if (near__os_commit((void *)*base, CHUNK_BYTES))
		return false;
	region->carved += CHUNK_BYTES;
	return true;
}

bool near__region_carve(struct chunk_heap *heap, unsigned node, uintptr_t *base)
{
	/* Only the newest can have room: a region is left for good when it is full. */
	struct region *region = has_room(heap->regions) ? heap->regions : reserve(heap, node);

	return region && carve_from(region, base);
}
