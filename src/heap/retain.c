/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * How much free memory a node may retain, and what of it is resident.
 *
 * Programs touch a part of what they allocate, and what a page saw before it was freed is not known. So a few chunks are
 * asked now and then (mincore): which share of the pages in use is resident, and which of the dirty free ones.
 */
#include "heap/retain.h"

#include "base/conf.h"
#include "os/os.h"

uint32_t near__heap_wishes;
bool near__heap_decays;

enum {
	RETAIN_LEAST = 1 << 20,
	REGRET_SHARE = 4, /* of what is given back, so much less may be retained the next time; of what is taken again, all */
	USE_SHARE = 8,	  /* of what is in use and resident may be retained, without decay; */
	USE_SHARE_DECAYS = 4,
	ALL = 256, /* densities are parts of it */
	SAMPLES = 4,
	SAMPLE_CALLS = 256,	 /* runs taken and given until densities are looked at again, */
	SAMPLE_DOUBLES = 3,	 /* twice as many after each of the first looks, */
	SAMPLE_LEAST = 8 << 20, /* and if there is so much memory */
	GRID_RUN = 32 << 10,  /* shorter runs need no grid, nor those of blocks of which every page is touched */
	GRID_BLOCK = 8 << 10,
	GRID_DENSITY = ALL / 8 * 5, /* if more of what is in use is resident, there is nothing to gain */
	SHRINK_SHARE = 4,	/* of the objects that there were only one part in this many are left: so ask what caches hold */
	SPARSE_LEAST = 2 << 20, /* bytes of holes in spans that are worth looking at, */
	SPARSE_TIMES = 2,	/* when they are so many times what is in use */
	FUTILE_SHARE = 8,	/* if not one part in this many went when caches were emptied, */
	WAIT_LEAST = 256 << 10, /* they are not emptied until so much more was freed, twice as much each time */
	WAIT_MOST = 64 << 20,
	HOLLOW_LEAST = 2 << 20, /* so much more of holes in spans is worth looking at when the heap grows, */
	HOLLOW_SHARE = 64,	/* if it is this part of what spans have, */
	HOLLOW_STEP = 8,	/* and of all holes: the more lie there already, the more likely a page of them is free */
	GROWN_LEAST = 256 << 10, /* by so much, */
	GROWN_SHARE = 16,	/* or this part of what is in use, a heap grows until depots are asked what they need */
	STUCK_LEAST = 4 << 20, /* what the kernel would not take is tried again when there is so much more, */
	STUCK_SHARE = 4,       /* or this part of it */
};

/* ---- what is resident ------------------------------------------------------------------------------- */

static size_t part(const unsigned *density, size_t bytes)
{
	return bytes / ALL * load_relaxed(density);
}

size_t near__heap_in_use(const struct chunk_heap *heap)
{
	size_t committed = load_relaxed(&heap->committed), free = load_relaxed(&heap->free_bytes);

	return committed > free ? committed - free : 0;
}

bool near__chunk_resident(const struct chunk *chunk, unsigned *used, unsigned *dirty)
{
	unsigned char resident[CHUNK_PAGES] = {0};
	unsigned grain = (unsigned)(near__os_page_size / MAP_PAGE);

	if (near__os_residence((void *)chunk->base, CHUNK_BYTES, resident))
		return false;
	for (unsigned w = 0; w < CHUNK_WORDS; w++) {
		uint64_t in_use = load_relaxed(&chunk->used[w]), there = 0;

		for (unsigned i = 0; i < 64; i++)
			there |= (uint64_t)(resident[(w * 64 + i) / grain] & 1) << i;
		*used += bits_in(there & in_use);
		*dirty += bits_in(there & load_relaxed(&chunk->dirty[w]) & ~in_use);
	}
	return true;
}

/* A quarter of what was seen now, three of what was before; never nothing. */
static void learn(unsigned *density, size_t resident, size_t pages)
{
	if (pages)
		store_relaxed(density, (unsigned)size_min((load_relaxed(density) * 3 + resident * ALL / pages) / 4 + 1, ALL));
}

void near__heap_sample(unsigned node)
{
	struct chunk_heap *heap = &near__heap[node]->chunks;
	uint32_t end = near__pool_end(&near__chunks), i = heap->sampled;
	unsigned used = 0, used_resident = 0, dirty = 0, dirty_resident = 0;

	for (unsigned n = 0, tries = 0; n < SAMPLES && POOL_FIRST + tries < end; tries++) {
		const struct chunk *chunk;

		i = i && i + 1 < end ? i + 1 : POOL_FIRST;
		chunk = near__pool_peek(&near__chunks, i);
		if (!chunk || !load_acquire(&chunk->in_use) || chunk->node != node)
			continue;
		n++;
		if (!near__chunk_resident(chunk, &used_resident, &dirty_resident))
			continue;
		used += CHUNK_PAGES - load_relaxed(&chunk->free);
		dirty += load_relaxed(&chunk->dirty_free);
	}
	store_relaxed(&heap->sampled, i);
	store_relaxed(&heap->samples, (uint32_t)size_min(heap->samples + 1, SAMPLE_DOUBLES));
	learn(&heap->used_density, used_resident, used);
	learn(&heap->free_density, dirty_resident, dirty);
}

size_t near__heap_grid(const struct chunk_heap *heap, size_t bytes, size_t block)
{
	bool dense = load_relaxed(&heap->sampled) && load_relaxed(&heap->used_density) > GRID_DENSITY;

	return bytes < GRID_RUN || block < GRID_BLOCK || dense ? 1 : GRID_PAGES * MAP_PAGE;
}

/* ---- what may be -------------------------------------------------------------------------------------- */

void near__regret_given(struct regret *regret, size_t bytes)
{
	size_t regretted = load_relaxed(&regret->regretted);

	store_relaxed(&regret->gone, load_relaxed(&regret->gone) + bytes);
	store_relaxed(&regret->regretted, regretted - size_min(regretted, bytes / REGRET_SHARE));
}

void near__regret_taken(struct regret *regret, size_t bytes, size_t most)
{
	size_t gone = load_relaxed(&regret->gone), again = size_min(bytes, gone);

	if (!again)
		return;
	store_relaxed(&regret->gone, gone - again);
	store_relaxed(&regret->regretted, size_min(load_relaxed(&regret->regretted) + again, most));
}

size_t near__heap_resident(unsigned node, size_t dirty)
{
	return part(&near__heap[node]->chunks.free_density, dirty);
}

size_t near__heap_touched(unsigned node, size_t taken)
{
	return part(&near__heap[node]->chunks.used_density, taken);
}

size_t near__heap_dirt(unsigned node, size_t resident)
{
	return resident / load_relaxed(&near__heap[node]->chunks.free_density) * ALL;
}

size_t near__chunk_allowance(unsigned node)
{
	const struct chunk_heap *heap = &near__heap[node]->chunks;
	size_t used = part(&heap->used_density, near__heap_in_use(heap));

	if (!near__conf.decay_ms)
		return near__conf.initial_pool;
	if (load_relaxed(&near__heap_decays))
		return near__conf.initial_pool + near__conf.retain_max + used / USE_SHARE_DECAYS;
	return near__conf.initial_pool + used / USE_SHARE +
	       size_min(near__conf.retain_max, RETAIN_LEAST + load_relaxed(&heap->regret.regretted));
}

size_t near__extent_allowance(unsigned node)
{
	if (!near__conf.decay_ms)
		return 0;
	if (load_relaxed(&near__heap_decays))
		return load_relaxed(&near__conf.extent_cache);
	return size_min(load_relaxed(&near__conf.extent_cache), load_relaxed(&near__heap[node]->extents.regret.regretted));
}

size_t near__heap_retained(unsigned node)
{
	return near__heap_resident(node, load_relaxed(&near__heap[node]->chunks.dirty_free)) +
	       load_relaxed(&near__heap[node]->extents.bytes);
}

bool near__heap_loose(const struct chunk_heap *heap)
{
	size_t stuck = load_relaxed(&heap->stuck);

	return !stuck || load_relaxed(&heap->dirty_free) > stuck + size_max(stuck / STUCK_SHARE, STUCK_LEAST);
}

static void wish(uint32_t bit)
{
	if (!(load_relaxed(&near__heap_wishes) & bit))
		fetch_or_relaxed(&near__heap_wishes, bit);
}

void near__heap_wish(unsigned node)
{
	struct heap *heap = near__heap[node];
	size_t dirty = load_relaxed(&heap->chunks.dirty_free);
	unsigned calls = load_relaxed(&heap->chunks.unsampled) + 1;
	bool due = calls >= (unsigned)SAMPLE_CALLS << load_relaxed(&heap->chunks.samples);

	store_relaxed(&heap->chunks.unsampled, due ? 0 : calls);
	if ((near__heap_resident(node, dirty) > near__chunk_allowance(node) && near__heap_loose(&heap->chunks)) ||
	    load_relaxed(&heap->extents.bytes) > near__extent_allowance(node))
		wish(HEAP_TOO_MUCH);
	if (due && load_relaxed(&heap->chunks.committed) > SAMPLE_LEAST)
		wish(HEAP_UNSAMPLED);
}

size_t near__heap_holes(unsigned node)
{
	size_t spans = load_relaxed(&near__heap[node]->span_bytes), objects = load_relaxed(&near__heap[node]->object_bytes);

	return spans > objects ? spans - objects : 0;
}

void near__heap_note_objects(unsigned node, size_t freed)
{
	struct heap *heap = near__heap[node];
	size_t objects = fetch_sub_relaxed(&heap->object_bytes, freed) - freed, holes, since;

	if (load_relaxed(&near__heap_decays))
		return;
	since = load_relaxed(&heap->freed_since) + freed;
	store_relaxed(&heap->freed_since, since);
	holes = near__heap_holes(node);
	if (unlikely(holes > SPARSE_LEAST) &&
	    (objects < load_relaxed(&heap->object_high) / SHRINK_SHARE ||
	     (holes > SPARSE_TIMES * objects && since >= load_relaxed(&heap->sparse_wait))))
		wish(HEAP_SPARSE);
}

void near__heap_note_emptied(unsigned node, size_t holes_before)
{
	struct heap *heap = near__heap[node];
	size_t holes = near__heap_holes(node), wait = load_relaxed(&heap->sparse_wait);
	size_t objects = load_relaxed(&heap->object_bytes), last = load_relaxed(&heap->emptied_objects);
	bool again = objects > last / 2 && objects / 2 < last; /* what went came back, for the same objects */
	bool futile = again || holes > holes_before - holes_before / FUTILE_SHARE;

	store_relaxed(&heap->emptied_objects, objects);
	store_relaxed(&heap->sparse_wait, futile ? size_min(size_max(wait * 2, WAIT_LEAST), WAIT_MOST) : WAIT_LEAST);
	store_relaxed(&heap->freed_since, 0);
	store_relaxed(&heap->object_high, objects);
}

bool near__heap_is_hollow(unsigned node)
{
	const struct heap *heap = near__heap[node];
	size_t holes = near__heap_holes(node);
	size_t share = size_max(load_relaxed(&heap->span_bytes) / HOLLOW_SHARE, holes / HOLLOW_STEP);

	return holes > load_relaxed(&heap->hollow) + load_relaxed(&heap->hollow_regret.regretted) +
			       size_max(HOLLOW_LEAST, share);
}

void near__heap_note_grown(unsigned node, size_t bytes)
{
	struct chunk_heap *heap = &near__heap[node]->chunks;
	size_t grown = load_relaxed(&heap->grown) + bytes;
	bool due = grown > size_max(GROWN_LEAST, near__heap_in_use(heap) / GROWN_SHARE);

	store_relaxed(&heap->grown, due ? 0 : grown);
	if (unlikely(due))
		wish(HEAP_GROWN);
	if (unlikely(near__heap_is_hollow(node)))
		wish(HEAP_HOLLOW);
}

void near__heap_note_filled(unsigned node)
{
	store_relaxed(&near__heap[node]->hollow, near__heap_holes(node));
}

void near__heap_note_hollow(unsigned node, bool whole)
{
	struct heap *heap = near__heap[node];
	size_t holes = near__heap_holes(node);

	if (!whole) {
		wish(HEAP_HOLLOW);
		return;
	}
	store_relaxed(&heap->hollow, holes);
	if (load_relaxed(&heap->hollow_regret.gone) > holes)
		store_relaxed(&heap->hollow_regret.gone, holes);
}
