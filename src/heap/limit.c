/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* The limits of the process. All words are relaxed: a limit may be missed by what threads ask for at the same time. */
#include "heap/limit.h"

#include "base/conf.h"
#include "heap/retain.h"
#include "meta/arena.h"
#include "meta/pagemap.h"
#include "near/malloc.h"

enum { SLACK_SHARE = 16, SLACK_LEAST = 1 << 20 };

static size_t mapped;
static size_t soft_at; /* where the soft limit strikes next: beyond limit_soft when so much is in use; 0: nowhere */
static int reached;
static uint32_t waivers; /* threads that the soft limit does not hold up now */

void near__limit_note_mapped(size_t bytes, bool more)
{
	fetch_add_relaxed(&mapped, more ? bytes : 0 - bytes);
}

size_t near__limit_mapped(void)
{
	return load_relaxed(&mapped);
}

size_t near__limit_footprint(void)
{
	size_t bytes = load_relaxed(&mapped) + near__arena_mapped() - near__pagemap_sparse();

	for (unsigned node = 0; node < near__nodes; node++) {
		const struct chunk_heap *heap = &near__heap[node]->chunks;

		bytes += near__heap_in_use(heap) + load_relaxed(&heap->dirty_free) +
			 load_relaxed(&near__heap[node]->extents.bytes);
	}
	return bytes;
}

bool near__limit_leaves(size_t bytes)
{
	/* 0 is none, and one less than that is more than any footprint. */
	size_t hard = near__conf.limit_hard, soft = load_relaxed(&near__conf.limit_soft);

	return !near__limit_any() || near__limit_footprint() + bytes <= size_min(hard - 1, soft - 1);
}

static bool refuse(int which)
{
	store_relaxed(&reached, which);
	return false;
}

bool near__limit_allows(size_t bytes)
{
	size_t footprint, soft = load_relaxed(&near__conf.limit_soft);

	if (!near__limit_any())
		return true;
	footprint = near__limit_footprint() + bytes;
	if (near__conf.limit_hard && footprint > near__conf.limit_hard)
		return refuse(NEAR_LIMIT_HARD);
	if (soft && footprint < soft)
		store_relaxed(&soft_at, soft);
	if (soft && footprint >= size_max(load_relaxed(&soft_at), soft) && !load_relaxed(&waivers))
		return refuse(NEAR_LIMIT_SOFT);
	return true;
}

void near__limit_relax(size_t wanted)
{
	size_t now = near__limit_footprint();

	store_relaxed(&soft_at, now + wanted + size_max(now / SLACK_SHARE, SLACK_LEAST));
	store_relaxed(&reached, 0);
}

bool near__limit_waive(void)
{
	if (!load_relaxed(&near__conf.limit_soft))
		return false;
	fetch_add_relaxed(&waivers, 1u);
	store_relaxed(&soft_at, SIZE_MAX);
	return true;
}

void near__limit_heed(void)
{
	uint32_t n = load_relaxed(&waivers);

	while (n && !cas_relaxed(&waivers, &n, n - 1)) /* none: this is the child of a fork in a signal handler */
		continue;
}

void near__limit_after_fork(void)
{
	if (load_relaxed(&waivers))
		store_relaxed(&waivers, 0u);
}

bool near__limit_any(void)
{
	return unlikely(load_relaxed(&near__conf.limit_soft) || near__conf.limit_hard);
}

int near__limit_reached(void)
{
	return load_relaxed(&reached);
}

void near__limit_soft(size_t bytes)
{
	store_relaxed(&near__conf.limit_soft, bytes);
}
