/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* The check as a whole: its notes, the pools of records, and what it has found. */
#include "watch/check.h"

#include <errno.h>

#include "base/format.h"
#include "heap/limit.h"
#include "heap/purge.h"
#include "meta/arena.h"
#include "os/os.h"

enum { LINES_MOST = 20 };

/* ---- what was found --------------------------------------------------------------------------------- */

void near__check_found(struct check *check, const char *format, ...)
{
	char buffer[400];
	struct text line = TEXT_IN(buffer);
	va_list args;

	if (check->violations++ >= LINES_MOST)
		return;
	va_start(args, format);
	near__text_vadd(&line, format, args);
	va_end(args);
	near__warn("check: %s", buffer);
}

/* ---- records ---------------------------------------------------------------------------------------- */

void *near__check_record(const struct pool *pool, uint32_t index)
{
	return index >= POOL_FIRST && index < near__pool_end(pool) ? near__pool_peek(pool, index) : NULL;
}

uint32_t near__check_stack(struct check *check, const char *name, const struct pool *pool, const struct stack *stack,
			   bool (*visit)(struct check *check, uint32_t index, struct place where), struct place where)
{
	uint32_t index = stack_top(stack), n = 0;

	for (; index; index = load_relaxed(&pool_slot(pool, index)->next), n++) {
		if (!near__check_record(pool, index)) {
			near__check_found(check, "%s: %u is no record", name, index);
			break;
		}
		if (!visit(check, index, where))
			break;
	}
	return n;
}

static bool note_free(struct check *check, uint8_t *met, const char *name, uint32_t index)
{
	if (met[index] & MET_FREE) {
		near__check_found(check, "%s %u is twice among the free records", name, index);
		return false;
	}
	met[index] |= MET_FREE;
	return true;
}

static bool note_free_span(struct check *check, uint32_t index, struct place where)
{
	(void)where;
	return note_free(check, check->spans, "span", index);
}

static bool note_free_chunk(struct check *check, uint32_t index, struct place where)
{
	(void)where;
	return note_free(check, check->chunks, "chunk", index);
}

static bool note_free_region(struct check *check, uint32_t index, struct place where)
{
	(void)where;
	return note_free(check, check->regions, "region", index);
}

static void note_free_records(struct check *check)
{
	struct place none = {0};

	near__check_stack(check, "free spans", &near__spans, &near__spans.free, note_free_span, none);
	near__check_stack(check, "free chunks", &near__chunks, &near__chunks.free, note_free_chunk, none);
	near__check_stack(check, "free regions", &near__regions, &near__regions.free, note_free_region, none);
}

/* ---- what is counted of the whole ------------------------------------------------------------------- */

static void check_footprint(struct check *check)
{
	size_t known = near__arena_mapped() - near__pagemap_sparse(), footprint = near__limit_footprint();

	for (unsigned node = 0; node < near__nodes; node++) {
		const struct chunk_heap *heap = &near__heap[node]->chunks;

		known += heap->committed - heap->free_bytes + heap->dirty_free + near__heap[node]->extents.bytes;
	}
	WRONG_IF(check->whole && footprint - known != check->mapped,
		 "%zu bytes are counted as large blocks with mappings of their own, which have %zu", footprint - known,
		 check->mapped);
}

/* ---- notes ------------------------------------------------------------------------------------------ */

static void count_mapping(void *start, size_t bytes, void *count)
{
	(void)start, (void)bytes;
	++*(size_t *)count;
}

static void *carve(uintptr_t *at, size_t count, size_t bytes)
{
	uintptr_t start = *at;

	*at = round_up(start + count * bytes, CACHE_LINE);
	return (void *)start;
}

/* Lays the notes out from `base` on; returns their bytes. */
static size_t lay_out(struct check *check, uintptr_t base)
{
	uint32_t spans = near__pool_end(&near__spans), chunks = near__pool_end(&near__chunks);
	uintptr_t at = base;

	check->cached = carve(&at, spans, sizeof(*check->cached));
	check->owned = carve(&at, chunks, sizeof(*check->owned));
	check->spans = carve(&at, spans, 1);
	check->chunks = carve(&at, chunks, 1);
	check->regions = carve(&at, near__pool_end(&near__regions), 1);
	check->magazines = carve(&at, near__pool_end(&near__magazines), sizeof(*check->magazines));
	check->sums = carve(&at, near__nodes, sizeof(*check->sums));
	check->range = carve(&at, check->ranges_most, sizeof(*check->range));
	return round_up(at - base, near__os_page_size);
}

static void check_all(struct check *check)
{
	note_free_records(check);
	if (near__mode != NEAR_MODE_EARLY)
		near__check_caches(check);
	near__check_spans(check);
	near__check_chunks(check);
	near__check_pagemap(check);
	check_footprint(check);
	if (check->violations > LINES_MOST)
		near__warn("check: and %u more", check->violations - LINES_MOST);
}

/* Under the purge lock, with which nobody gives back, and what was out of circulation for that is back. */
static int check_locked(int *error)
{
	struct check check = {.whole = !near__heap_forked && !load_relaxed(&near__heap_lost)};
	bool drains = lock_try(&near__drain_lock);
	size_t bytes;
	void *notes;

	check.ranges_most = near__pool_end(&near__spans) + near__pool_end(&near__chunks);
	near__arena_visit(count_mapping, &check.ranges_most);
	bytes = lay_out(&check, 0);
	notes = near__os_map(bytes, near__os_page_size);
	*error = notes ? 0 : ENOMEM;
	if (notes) {
		lay_out(&check, (uintptr_t)notes);
		if (!drains)
			near__check_found(&check, "the drain lock is held");
		check_all(&check);
		near__os_unmap(notes, bytes);
	}
	if (drains)
		lock_release(&near__drain_lock);
	return notes ? (int)size_min(check.violations, INT32_MAX) : -1;
}

int near__check(int *error)
{
	int result;

	*error = 0;
	if (!load_acquire(&near__nodes)) /* nothing was allocated yet */
		return 0;
	if (!(near__walk_inside() ? lock_try(&near__purge_lock) : lock_acquire(&near__purge_lock))) {
		*error = EBUSY;
		return -1;
	}
	result = check_locked(error);
	lock_release(&near__purge_lock);
	return result;
}
