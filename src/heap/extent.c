/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Kept mappings. Both ends of one stand in the page map, so that a mapping that is freed beside it finds it: they become
 * one. The smallest that fits is taken, and what is too much of it stays.
 */
#include "heap/extent.h"

#include "base/conf.h"
#include "heap/purge.h"
#include "heap/retain.h"
#include "os/os.h"

enum {
	EXTENTS_MOST = 256,
	WASTE_SHARE = 8,	 /* a block may be larger than asked for by one part in this many, */
	PIECE_LEAST = 64 << 10, /* if what would be left is less than this */
	GROW_SHARE = 4,		/* what has this part of the size at least is worth growing */
};

static struct span *span_at(uint32_t index)
{
	return pool_record(&near__spans, index);
}

/* ---- the list; under its lock ----------------------------------------------------------------------- */

static uintptr_t end_of(const struct span *span)
{
	return span->start + span->bytes;
}

/* Both ends name the record, or with 0 none any more. Without a leaf for them it is not found by its neighbours. */
static void mark_ends(const struct span *span, uint32_t index)
{
	uintptr_t last = end_of(span) - MAP_PAGE;

	if (!near__pagemap_cover(span->start, MAP_PAGE) || !near__pagemap_cover(last, MAP_PAGE))
		return;
	near__pagemap_set(span->start, 1, 0, index);
	near__pagemap_set(last, 1, 0, index);
}

static void link_extent(struct extent_list *list, struct span *span, uint32_t index)
{
	span->next = list->first;
	span->prev = 0;
	if (list->first)
		span_at(list->first)->prev = index;
	else
		list->last = index;
	list->first = index;
	store_relaxed(&list->count, list->count + 1);
	store_relaxed(&list->bytes, list->bytes + span->bytes);
	mark_ends(span, index);
}

static void unlink_extent(struct extent_list *list, struct span *span)
{
	if (span->prev)
		span_at(span->prev)->next = span->next;
	else
		list->first = span->next;
	if (span->next)
		span_at(span->next)->prev = span->prev;
	else
		list->last = span->prev;
	store_relaxed(&list->count, list->count - 1);
	store_relaxed(&list->bytes, list->bytes - span->bytes);
	mark_ends(span, 0);
}

void near__extent_relink(struct extent_list *list, struct span *span, uint32_t index)
{
	link_extent(list, span, index);
}

/* The extent of the same node that begins or ends at `edge`; `inside` is an address in its page there. */
static uint32_t neighbour(unsigned node, uintptr_t edge, uintptr_t inside)
{
	uint32_t index = near__pagemap_span(inside);
	const struct span *span = index ? span_at(index) : NULL;

	/*
	 * Only an extent of this list stands still under its lock; of others any field may be anything, and another's by the
	 * time it is read. So state and node are asked at once: as soon as a record says both it is on this list.
	 */
	if (!span || load_acquire(&span->whose) != (struct span){.state = SPAN_EXTENT, .node = (uint16_t)node}.whose)
		return 0;
	return span->start == edge || end_of(span) == edge ? index : 0;
}

/* Adds a neighbour to a span that is in our hands. */
static void swallow(struct extent_list *list, struct span *span, uint32_t index)
{
	struct span *other = span_at(index);

	unlink_extent(list, other);
	store_release(&other->state, (uint32_t)SPAN_UNUSED); /* a forked child loses the memory rather than has it twice */
	compiler_barrier();
	span->start = other->start < span->start ? other->start : span->start;
	span->bytes += other->bytes;
	near__pool_give(&near__spans, index);
}

static void merge(struct extent_list *list, struct span *span)
{
	uint32_t before = neighbour(span->node, span->start, span->start - 1), after;

	if (before)
		swallow(list, span, before);
	after = neighbour(span->node, end_of(span), end_of(span));
	if (after)
		swallow(list, span, after);
}

/* ---- taking ----------------------------------------------------------------------------------------- */

/* Of an unlinked extent all but the first `bytes`, with a record of its own, SPAN_HELD; 0: there is no record for it. */
static uint32_t cut(struct span *span, size_t bytes)
{
	uint32_t rest = near__pool_take(&near__spans, span->node);

	if (!rest)
		return 0;
	span_renew(span_at(rest), span->start + bytes, span->bytes - bytes, 0, span->node);
	span->rigid = false; /* another mapping now */
	span->bytes = bytes; /* before the other's state: a forked child loses the memory rather than has it twice */
	compiler_barrier();
	store_release(&span_at(rest)->state, (uint32_t)SPAN_HELD);
	return rest;
}

static void keep_rest(struct extent_list *list, struct span *span, size_t bytes)
{
	size_t much = span->bytes - bytes;
	uint32_t rest = much >= PIECE_LEAST || much > bytes / WASTE_SHARE ? cut(span, bytes) : 0;

	if (!rest)
		return;
	store_release(&span_at(rest)->state, (uint32_t)SPAN_EXTENT);
	link_extent(list, span_at(rest), rest);
}

uint32_t near__extent_take(unsigned node, size_t bytes, size_t align)
{
	struct extent_list *list = &near__heap[node]->extents;
	uint32_t best = 0;

	if (load_relaxed(&list->bytes) < bytes || !lock_acquire(&list->lock))
		return 0;
	for (uint32_t i = list->first; i; i = span_at(i)->next) {
		const struct span *span = span_at(i);

		if (span->bytes >= bytes && !(span->start & (align - 1)) && (!best || span->bytes < span_at(best)->bytes))
			best = i;
	}
	if (best) {
		unlink_extent(list, span_at(best));
		keep_rest(list, span_at(best), bytes);
		store_release(&span_at(best)->state, (uint32_t)SPAN_MAPPED); /* nobody but us knows the address */
	}
	lock_release(&list->lock);
	return best;
}

uint32_t near__extent_take_smaller(unsigned node, size_t bytes)
{
	struct extent_list *list = &near__heap[node]->extents;
	size_t least = bytes / GROW_SHARE;
	uint32_t best = 0;

	if (load_relaxed(&list->bytes) < least || !lock_acquire(&list->lock))
		return 0;
	for (uint32_t i = list->first; i; i = span_at(i)->next) {
		if (span_at(i)->bytes >= least && span_at(i)->bytes < bytes && !span_at(i)->rigid) {
			least = span_at(i)->bytes;
			best = i;
		}
	}
	if (best) {
		unlink_extent(list, span_at(best));
		store_release(&span_at(best)->state, (uint32_t)SPAN_HELD);
	}
	lock_release(&list->lock);
	return best;
}

/* ---- giving ----------------------------------------------------------------------------------------- */

/* What can not be unmapped (the kernel's limit of mappings) is purged and kept instead; false then. */
static bool drop_mapping(uint32_t index)
{
	struct span *span = span_at(index);

	if (near__os_unmap((void *)span->start, span->bytes)) {
		if (!near__topology.strict) /* then nobody would claim it again */
			near__os_purge((void *)span->start, span->bytes);
		return false;
	}
	store_release(&span->state, (uint32_t)SPAN_UNUSED);
	near__pool_give(&near__spans, index);
	return true;
}

static void keep_mapping(uint32_t index)
{
	struct extent_list *list = &near__heap[span_at(index)->node]->extents;

	if (!lock_acquire(&list->lock)) {
		if (!near__walk_none() || !drop_mapping(index)) /* in a signal handler, under the lock, and no way out */
			fetch_add_relaxed(&near__heap_lost, 1ull);
		return;
	}
	merge(list, span_at(index));
	store_release(&span_at(index)->state, (uint32_t)SPAN_EXTENT);
	link_extent(list, span_at(index), index);
	lock_release(&list->lock);
}

static bool is_too_much(const struct extent_list *list, size_t keep)
{
	return load_relaxed(&list->bytes) > keep || load_relaxed(&list->count) > EXTENTS_MOST;
}

void near__extent_give(uint32_t index)
{
	unsigned node = span_at(index)->node;
	size_t bytes = span_at(index)->bytes;

	/* SPAN_HELD came before this looks whether there are walkers: who comes later does not look there. */

	if (bytes > load_relaxed(&near__conf.extent_cache) && near__walk_none() && drop_mapping(index)) {
		near__regret_given(&near__heap[node]->extents.regret, bytes);
		return;
	}
	keep_mapping(index);
	if (is_too_much(&near__heap[node]->extents, load_relaxed(&near__conf.extent_cache)))
		near__extent_trim(node, load_relaxed(&near__conf.extent_cache), false);
	near__heap_wish(node);
}

/* So much of an extent's end that just `keep` bytes stay; 0: that is all of it. */
static uint32_t take_end(struct extent_list *list, uint32_t index, size_t keep)
{
	struct span *span = span_at(index);
	size_t much = round_up(list->bytes - size_min(keep, list->bytes), near__os_page_size);
	uint32_t end;

	much = size_max(much, PIECE_LEAST);
	if (list->bytes <= keep || much + PIECE_LEAST > span->bytes) /* there are too many; a crumb would stay */
		return 0;
	mark_ends(span, 0);
	end = cut(span, span->bytes - much);
	mark_ends(span, index);
	if (end)
		store_relaxed(&list->bytes, list->bytes - much);
	return end;
}

/* The oldest or, if that is enough, its end. */
static uint32_t oldest(struct extent_list *list, size_t keep)
{
	uint32_t index = 0, end = 0;

	if (!lock_acquire(&list->lock))
		return 0;
	if (list->last && is_too_much(list, keep)) {
		index = list->last;
		end = take_end(list, index, keep);
		if (!end) {
			unlink_extent(list, span_at(index));
			store_release(&span_at(index)->state, (uint32_t)SPAN_HELD);
		}
	}
	lock_release(&list->lock);
	return end ? end : index;
}

size_t near__extent_trim(unsigned node, size_t keep, bool wait)
{
	struct extent_list *list = &near__heap[node]->extents;
	size_t bytes = 0;
	uint32_t index;

	while (load_relaxed(&list->count) && (index = oldest(list, keep))) {
		size_t size = span_at(index)->bytes;

		if (!(wait ? near__walk_left() : near__walk_none()) || !drop_mapping(index)) {
			keep_mapping(index);
			break;
		}
		near__regret_given(&list->regret, size);
		bytes += size;
	}
	return bytes;
}
