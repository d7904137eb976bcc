/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* The other direction of the page map, from its entries to the spans; and address space that has two owners. */
#include "meta/arena.h"
#include "watch/check.h"

/* ---- entries ---------------------------------------------------------------------------------------- */

/* Whether the span has an entry for a page, and of which bin. Blocks have one for the first, extents at both ends. */
static bool names(const struct span *span, uintptr_t page, unsigned *bin)
{
	*bin = 0;
	switch (load_acquire(&span->state)) {
	case SPAN_OBJECTS:
		*bin = bin_of(span->node, span->class);
		return page - span->start < span->bytes;
	case SPAN_RUN:
	case SPAN_MAPPED:
		return page == span->start;
	case SPAN_EXTENT:
		return page == span->start || page == span->start + span->bytes - MAP_PAGE;
	default:
		return false;
	}
}

static void check_entry(struct check *check, uintptr_t page, uint32_t index, unsigned slot)
{
	const struct span *span = near__check_record(&near__spans, index);
	unsigned bin = 0;

	/* On its way, and told of by who checks spans; or a dead thread was just taking its page out of the map. */
	if ((span && load_acquire(&span->state) == SPAN_HELD) || (!index && near__heap_forked))
		return;
	if (!span || !names(span, page, &bin))
		near__check_found(check, "page map: %p names span %u, bin %u, which has no such page", (void *)page,
				  index, slot / BIN_WORDS);
	else
		WRONG_IF(slot != bin * BIN_WORDS, "page map: %p of span %u names bin %u, and not %u", (void *)page,
			 index, slot / BIN_WORDS, bin);
}

static void check_leaf(struct check *check, const struct leaf *leaf, uintptr_t start)
{
	for (size_t page = 0; page < PAGEMAP_LEAF_PAGES; page++) {
		uint32_t span = load_relaxed(&leaf->span[page]);
		unsigned slot = load_relaxed(&leaf->bin[page]);

		if (span || slot)
			check_entry(check, start + page * MAP_PAGE, span, slot);
	}
}

static void check_leaves(struct check *check)
{
	for (uintptr_t i = 0; i < PAGEMAP_ROOT_ENTRIES; i++) {
		intptr_t distance = load_acquire(&near__pagemap_root[i]);

		if (distance)
			check_leaf(check, (const struct leaf *)((uintptr_t)near__pagemap_zero + (uintptr_t)distance),
				   i << PAGEMAP_LEAF_SHIFT);
	}
	for (size_t page = 0; page < PAGEMAP_LEAF_PAGES; page++)
		WRONG_IF(load_relaxed(&near__pagemap_zero[page]), "page map: the zero leaf was written to, at page %zu",
			 page);
}

/* ---- address space ---------------------------------------------------------------------------------- */

static void add(struct check *check, uintptr_t start, size_t bytes, const char *what)
{
	if (check->ranges < check->ranges_most)
		check->range[check->ranges++] = (struct range){start, start + bytes, what};
}

static void add_metadata(void *start, size_t bytes, void *check)
{
	add(check, (uintptr_t)start, bytes, "metadata");
}

static void add_all(struct check *check)
{
	for (uint32_t i = POOL_FIRST; i < near__pool_end(&near__chunks); i++) {
		const struct chunk *chunk = near__pool_peek(&near__chunks, i);

		if (chunk && chunk->in_use)
			add(check, chunk->base, CHUNK_BYTES, "chunk");
	}
	for (uint32_t i = POOL_FIRST; i < near__pool_end(&near__spans); i++) {
		const struct span *span = near__pool_peek(&near__spans, i);

		if (span && span->state == SPAN_MAPPED)
			add(check, span->start, span->bytes, "large block");
		else if (span && span->state == SPAN_EXTENT)
			add(check, span->start, span->bytes, "kept mapping");
	}
	near__arena_visit(add_metadata, check);
}

/* Makes a heap of the ranges below `at`, of which all but that at `at` are in order. */
static void sift(struct range *range, size_t at, size_t end)
{
	struct range moved = range[at];

	for (size_t child; (child = 2 * at + 1) < end; at = child) {
		child += child + 1 < end && range[child + 1].start > range[child].start;
		if (range[child].start <= moved.start)
			break;
		range[at] = range[child];
	}
	range[at] = moved;
}

static void sort(struct range *range, size_t n)
{
	for (size_t at = n / 2; at-- > 0;)
		sift(range, at, n);
	for (size_t end = n; end-- > 1;) {
		struct range last = range[end];

		range[end] = range[0];
		range[0] = last;
		sift(range, 0, end);
	}
}

static void check_ranges(struct check *check)
{
	const struct range *range = check->range;

	add_all(check);
	sort(check->range, check->ranges);
	for (size_t i = 1; i < check->ranges; i++)
		WRONG_IF(range[i].start < range[i - 1].end, "%s %p and %s %p overlap", range[i - 1].what,
			 (void *)range[i - 1].start, range[i].what, (void *)range[i].start);
}

void near__check_pagemap(struct check *check)
{
	check_leaves(check);
	check_ranges(check);
}
