/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Decay. What became free in a step may lie there for another STEPS, less from step to step: so a burst goes back smoothly,
 * and what is used again in time never does.
 */
#include "base/conf.h"
#include "heap/extent.h"
#include "keep/keep.h"
#include "keep/limits.h"
#include "os/os.h"

enum { STEPS = 16, SLICE_BYTES = 4 << 20, SLICE_RECORDS = 4096 };
#define NEVER (1ull << 40)

/* All the purge lock's. */
static struct {
	uint64_t next_step, next_look; /* milliseconds of the clock; 0: not set yet */
	unsigned look;
	uint32_t span;	  /* where the look at spans goes on; 0: none is under way */
	bool left, found; /* caches or spans hold something; the look that is under way has found some */
	size_t backlog[OS_MAX_NODES][STEPS]; /* bytes retained that came in each step, the newest first */
	size_t seen[OS_MAX_NODES];	     /* retained at the last step */
} decay VAST;

static uint64_t due; /* for near__keep_slice: when there is something to do; lossy */

static size_t limit_of(unsigned node)
{
	size_t limit = 0;

	for (unsigned i = 0; i < STEPS; i++)
		limit += decay.backlog[node][i] / STEPS * (STEPS - i);
	return limit;
}

static void shift(unsigned node, uint64_t steps)
{
	size_t *backlog = decay.backlog[node], now = near__heap_retained(node), before = decay.seen[node];

	for (; steps; steps--) {
		for (unsigned i = STEPS - 1; i > 0; i--)
			backlog[i] = backlog[i - 1];
		backlog[0] = 0;
	}
	backlog[0] = now > before && before <= SIZE_MAX / 2 ? now - before : 0;
}

/* Only the janitor, which does all there is, waits for walkers. */
static bool may_wait(size_t most)
{
	return most == KEEP_ALL;
}

/* Of a node, until `keep` bytes stay. False: it was more than `most`. */
static bool give_back(unsigned node, size_t keep, size_t most)
{
	const struct extent_list *extents = &near__heap[node]->extents;
	size_t pages = near__heap_resident(node, load_relaxed(&near__heap[node]->chunks.dirty_free)), purged = 0;

	if (near__heap_retained(node) > keep)
		near__extent_trim(node, keep > pages ? keep - pages : 0, may_wait(most));
	if (near__heap_retained(node) > keep && near__heap_loose(&near__heap[node]->chunks))
		purged = near__chunk_purge(node, near__heap_dirt(node, keep - size_min(keep, load_relaxed(&extents->bytes))),
					   most, true);
	return purged < most;
}

/* True: something is retained that will go in time. */
static bool step_nodes(uint64_t steps, size_t most)
{
	bool left = false;

	for (unsigned node = 0; node < near__nodes; node++) {
		size_t limit;

		near__heap_sample(node);
		shift(node, size_min(steps, STEPS));
		limit = size_max(limit_of(node), near__conf.initial_pool);
		if (near__heap_retained(node) > limit)
			left |= !give_back(node, limit, most);
		decay.seen[node] = near__heap_retained(node);
		left |= limit > near__conf.initial_pool;
	}
	return left;
}

/* What a look makes free was not used for long enough already: it is not counted as new. */
static void note_retained(bool before)
{
	for (unsigned node = 0; node < near__nodes; node++) {
		size_t now = near__heap_retained(node);

		decay.seen[node] += before ? 0 - now : now;
	}
}

static void start_look(void)
{
	unsigned look = decay.look++;

	note_retained(true);
	decay.found = false;
	near__drain_idle(LOOKS, &decay.found);
	for (unsigned node = 0; node < near__nodes; node++) {
		near__depot_look(node, look, &decay.found);
		near__span_release_empty(node, LOOKS);
	}
	note_retained(false);
	decay.span = POOL_FIRST;
}

static void go_on_looking(uint32_t records, bool wait)
{
	decay.span = near__span_look(decay.span, records, LOOKS, &decay.found);
	if (decay.span)
		return;
	for (unsigned node = 0; node < near__nodes; node++) {
		near__region_release(node, LOOKS, wait);
		near__region_look(node, &decay.found);
	}
	decay.left = decay.found;
}

static uint64_t period(uint64_t whole, unsigned parts)
{
	return whole / parts ? whole / parts : 1;
}

static uint64_t cache_ttl(void)
{
	return near__conf.cache_ttl ? near__conf.cache_ttl : near__conf.decay_ms;
}

uint64_t near__keep_step(uint64_t now, size_t most)
{
	uint64_t step = period(near__conf.decay_ms, STEPS), look = period(cache_ttl(), LOOKS), next = KEEP_NOTHING;
	bool left = true;

	if (!decay.next_step) {
		decay.next_step = now + step;
		decay.next_look = now + look;
		decay.left = true;
	}
	if (cache_ttl() < NEVER) {
		if (now >= decay.next_look && !decay.span) {
			start_look();
			decay.next_look = now + look;
		}
		if (decay.span)
			go_on_looking(most == KEEP_ALL ? UINT32_MAX : SLICE_RECORDS, may_wait(most));
		next = decay.left ? decay.next_look : KEEP_NOTHING;
	}
	if (near__conf.decay_ms < NEVER) {
		if (now >= decay.next_step) {
			left = step_nodes((now - decay.next_step) / step + 1, most);
			decay.next_step = now + step;
		}
		next = left && decay.next_step < next ? decay.next_step : next;
	}
	if (decay.span)
		next = now;
	if (next == KEEP_NOTHING) {
		decay.next_step = 0; /* whatever comes next begins anew */
		return next;
	}
	return next > now ? next - now : 0;
}

void near__keep_slice(void)
{
	uint64_t now = near__os_milliseconds(), next;

	near__limits_derive();
	if (near__janitor_runs() || now < load_relaxed(&due) || !lock_try(&near__purge_lock))
		return;
	next = near__keep_step(now, SLICE_BYTES);
	store_relaxed(&due, next == KEEP_NOTHING ? now : now + next);
	lock_release(&near__purge_lock);
}

/* ---- what the heap wishes --------------------------------------------------------------------------- */

enum { CACHED_SHARE = 8 };

/* Bytes in bins and depots, and the part of all objects that may be there in a sparse heap. */
static bool much_is_cached(void)
{
	size_t cached = 0, objects = 0;

	for (unsigned cpu = 0; cpu < near__cpus; cpu++) {
		const struct cpu_table *table = load_acquire(&near__table[cpu]);

		int64_t charged = table ? load_relaxed(&table->charged) : 0;

		cached += charged > 0 ? (size_t)charged : 0;
	}
	for (unsigned node = 0; node < near__nodes; node++) {
		cached += load_relaxed(&near__depot[node]->bytes);
		objects += load_relaxed(&near__heap[node]->object_bytes);
	}
	return cached > objects / CACHED_SHARE;
}

/* Objects that lie in caches hold the pages around them. Where hardly any do, that is as futile as if it had been done. */
static void empty_caches(bool worthwhile)
{
	unsigned nodes = near__nodes;
	size_t holes[OS_MAX_NODES];

	for (unsigned node = 0; node < nodes; node++)
		holes[node] = near__heap_holes(node);
	if (worthwhile) {
		near__drain_all();
		for (unsigned node = 0; node < nodes; node++) {
			near__depot_trim(node);
			near__depot_chill(node, UINT32_MAX);
			near__span_release_empty(node, 0);
		}
	}
	for (unsigned node = 0; node < nodes; node++)
		near__heap_note_emptied(node, holes[node]);
}

/* Of pages a quarter more than must be, so that it is not to be done again at once. */
static void reduce(unsigned node, bool unsampled, bool wait)
{
	const struct chunk_heap *heap = &near__heap[node]->chunks;
	size_t most;

	near__extent_trim(node, near__extent_allowance(node), wait);
	if (unsampled || near__heap_resident(node, load_relaxed(&heap->dirty_free)) > near__chunk_allowance(node))
		near__heap_sample(node);
	if (!near__heap_loose(heap))
		return;
	most = near__heap_dirt(node, near__chunk_allowance(node));
	if (load_relaxed(&heap->dirty_free) > most)
		near__chunk_purge(node, most - most / 4, KEEP_ALL, false);
	if (load_relaxed(&heap->dirty_free) > most) /* huge pages are kept whole, but not at any price */
		near__chunk_purge(node, most, KEEP_ALL, true);
}

/* What grows elsewhere takes the place of free pages inside spans, whoever used them last. */
static void fill_hollow(unsigned node, bool janitor)
{
	struct heap *heap = near__heap[node];

	if (!near__purge_may_wait()) { /* in a handler under a lock: whoever grows next begins anew */
		heap->squeezed = 0;
		return;
	}
	if (!heap->squeezed && !near__heap_is_hollow(node))
		return;
	heap->squeezed = near__span_squeeze(node, heap->squeezed ? heap->squeezed : POOL_FIRST,
					    janitor ? UINT32_MAX : SLICE_RECORDS, janitor ? KEEP_ALL : SLICE_BYTES);
	near__heap_note_hollow(node, !heap->squeezed);
}

void near__keep_fulfil(bool janitor)
{
	uint32_t wishes = load_relaxed(&near__heap_wishes) ? exchange_acq_rel(&near__heap_wishes, 0u) : 0;

	if (wishes & HEAP_SPARSE && !janitor && near__mode != NEAR_MODE_EARLY)
		empty_caches(much_is_cached());
	for (unsigned node = 0; node < near__nodes && wishes & HEAP_GROWN && near__mode != NEAR_MODE_EARLY; node++)
		near__depot_shed(node);
	for (unsigned node = 0; node < near__nodes && wishes & HEAP_HOLLOW; node++)
		fill_hollow(node, janitor);
	for (unsigned node = 0; node < near__nodes && wishes; node++)
		reduce(node, wishes & HEAP_UNSAMPLED, janitor);
}

void near__keep_wishes(void)
{
	if (near__janitor_runs()) {
		/* Once, or every free would write to what it sleeps on until it has come round to it. */
		if (!(load_relaxed(&near__heap_wishes) & HEAP_TOLD) &&
		    !(fetch_or_relaxed(&near__heap_wishes, (uint32_t)HEAP_TOLD) & HEAP_TOLD))
			near__janitor_wake();
	} else if (lock_try(&near__purge_lock)) {
		near__keep_fulfil(false);
		lock_release(&near__purge_lock);
	}
}
