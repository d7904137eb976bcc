/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* From the top tier down: bins to spans, depots to spans, empty spans to chunks, free pages to the kernel. */
#include "keep/trim.h"

#include "base/conf.h"
#include "cache/cache.h"
#include "heap/extent.h"
#include "heap/limit.h"
#include "heap/purge.h"
#include "os/os.h"

static size_t given_back(void)
{
	size_t bytes = 0;

	for (unsigned node = 0; node < near__nodes; node++)
		bytes += load_relaxed(&near__heap[node]->chunks.given_back);
	return bytes;
}

/* Under the purge lock. */
static size_t trim(size_t keep, bool wait)
{
	size_t before = given_back(), bytes = 0;

	if (near__mode != NEAR_MODE_EARLY) {
		near__drain_all();
		for (unsigned node = 0; node < near__nodes; node++) {
			near__depot_trim(node);
			bytes += near__depot_chill(node, UINT32_MAX);
		}
	}
	for (unsigned node = 0; node < near__nodes; node++) {
		size_t share = keep / near__nodes;

		near__span_release_empty(node, 0);
		bytes += near__span_purge(node, 0);
		bytes += near__extent_trim(node, share, wait);
		near__chunk_purge(node, share, SIZE_MAX, true);
		if (!keep)
			near__region_release(node, 0, wait);
	}
	return bytes + (given_back() - before);
}

/* Who has it may be waiting for walkers, or for the drain lock that a signal handler came under. */
static bool lock_purge(void)
{
	bool wait = !near__walk_inside() && !lock_is_mine(&near__drain_lock);

	return wait ? lock_acquire(&near__purge_lock) : lock_try(&near__purge_lock);
}

size_t near__trim(size_t keep)
{
	size_t bytes;

	if (!lock_purge())
		return 0;
	bytes = trim(keep, true);
	near__os_discard_left();
	lock_release(&near__purge_lock);
	return bytes;
}

static size_t address_space_held(void)
{
	size_t bytes = 0;

	for (unsigned node = 0; node < near__nodes; node++)
		bytes += load_relaxed(&near__heap[node]->chunks.reserved) +
			 load_relaxed(&near__heap[node]->extents.bytes);
	return bytes;
}

/* What the heap holds may not be enough by itself, but together with what the kernel still gives. */
static bool is_hopeless(size_t size)
{
	size_t held = address_space_held(), rest = size > held ? round_up(size - held, near__os_page_size) : 0;
	void *probe;

	if (near__conf.limit_hard && size > near__conf.limit_hard)
		return true;
	if (!rest)
		return false;
	probe = near__os_map(rest, near__os_page_size);
	if (probe)
		near__os_discard(probe, rest);
	return !probe;
}

bool near__trim_for(size_t size)
{
	/* A visit may take long, and wait for a lock of the program's that our caller holds. */
	if (is_hopeless(size) || !(near__walk_none() ? lock_purge() : lock_try(&near__purge_lock)))
		return false;
	trim(0, false);
	for (unsigned node = 0; node < near__nodes; node++)
		near__chunk_release(node);
	near__limit_relax(size);
	lock_release(&near__purge_lock);
	return true;
}
