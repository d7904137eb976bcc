/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* Span records: what each says of its objects or block, and the lists of spans and extents. */
#include "base/atomic.h"
#include "watch/check.h"

static const char *const states[] = {
	[SPAN_UNUSED] = "unused", [SPAN_HELD] = "held",	    [SPAN_OBJECTS] = "objects",
	[SPAN_RUN] = "run",	  [SPAN_MAPPED] = "mapped", [SPAN_EXTENT] = "extent",
};

/* ---- lists ------------------------------------------------------------------------------------------ */

/* Notes the next one of a list. False: it does not belong there, and where it leads is of no use. */
static bool note_listed(struct check *check, const char *list, uint32_t index, uint32_t before, uint32_t state,
			unsigned node)
{
	const struct span *span = near__check_record(&near__spans, index);

	if (!span || span->state != state || span->node != node) {
		near__check_found(check, "%s of node %u: record %u is none", list, node, index);
		return false;
	}
	if (check->spans[index] & MET_LISTED) {
		near__check_found(check, "%s of node %u: span %u is listed twice", list, node, index);
		return false;
	}
	check->spans[index] |= MET_LISTED;
	WRONG_IF(span->prev != before, "%s of node %u: span %u follows %u, and says %u", list, node, index, before,
		 span->prev);
	return true;
}

static uint32_t check_bucket(struct check *check, const struct span_list *list, unsigned node, unsigned class,
			     unsigned bucket)
{
	uint32_t before = 0, empties = 0;

	for (uint32_t i = list->first[bucket]; i; before = i, i = ((struct span *)pool_record(&near__spans, i))->next) {
		const struct span *span;

		if (!note_listed(check, "spans", i, before, SPAN_OBJECTS, node))
			break;
		span = pool_record(&near__spans, i);
		WRONG_IF(span->class != class, "span %u of class %u is listed in class %u", i, span->class, class);
		WRONG_IF(span->bucket != bucket || (span->class == class &&
						    span->used * SPAN_BUCKETS / near__class[class].objects != bucket),
			 "span %u (class %u, %u used) is in bucket %u", i, span->class, span->used, bucket);
		empties += !span->used;
	}
	return empties;
}

static void check_list(struct check *check, unsigned node, unsigned class)
{
	const struct span_list *list = &near__heap[node]->spans[class];
	uint32_t empties = 0;

	for (unsigned bucket = 0; bucket < SPAN_BUCKETS; bucket++)
		empties += check_bucket(check, list, node, class, bucket);
	WRONG_IF(list->empties != empties, "spans of node %u, class %u: %u are counted as empty, and %u are", node,
		 class, list->empties, empties);
	WRONG_IF(load_relaxed(&list->lock.word), "the lock of the spans of node %u, class %u is held", node, class);
}

static void check_extents(struct check *check, unsigned node)
{
	const struct extent_list *list = &near__heap[node]->extents;
	uint32_t before = 0, count = 0;
	size_t bytes = 0;

	for (uint32_t i = list->first; i; before = i, i = ((struct span *)pool_record(&near__spans, i))->next) {
		if (!note_listed(check, "extents", i, before, SPAN_EXTENT, node))
			break;
		bytes += ((struct span *)pool_record(&near__spans, i))->bytes;
		count++;
	}
	WRONG_IF(list->last != before, "extents of node %u: the last is %u, and not %u", node, before, list->last);
	WRONG_IF(list->count != count || list->bytes != bytes,
		 "extents of node %u: %u with %zu bytes are counted, and there are %u with %zu", node, list->count,
		 list->bytes, count, bytes);
	WRONG_IF(load_relaxed(&list->lock.word), "the lock of the extents of node %u is held", node);
}

static bool note_later(struct check *check, uint32_t index, struct place where)
{
	(void)where;
	if (check->spans[index] & MET_LATER) {
		near__check_found(check, "span %u is twice among those to be given back later", index);
		return false;
	}
	check->spans[index] |= MET_LATER;
	return true;
}

/* ---- records ---------------------------------------------------------------------------------------- */

/* Notes the pages of a chunk that a span has. */
static void own_pages(struct check *check, const struct span *span, uint32_t index)
{
	const struct chunk *chunk = near__check_record(&near__chunks, span->chunk);
	uintptr_t offset = chunk ? span->start - chunk->base : 0;
	unsigned at = (unsigned)(offset / MAP_PAGE), pages = (unsigned)(span->bytes / MAP_PAGE);

	if (!chunk || !chunk->in_use || chunk->node != span->node) {
		near__check_found(check, "span %u (%p): chunk %u is none of its node's", index, (void *)span->start,
				  span->chunk);
		return;
	}
	if (offset >= CHUNK_BYTES || offset % MAP_PAGE || span->bytes > CHUNK_BYTES - offset) {
		near__check_found(check, "span %u (%p, %zu bytes) does not lie in its chunk %u", index,
				  (void *)span->start, span->bytes, span->chunk);
		return;
	}
	WRONG_IF(near__bits_any(check->owned[span->chunk], at, pages), "span %u (%p, %zu bytes) overlaps another",
		 index, (void *)span->start, span->bytes);
	near__bits_set(check->owned[span->chunk], at, pages);
}

/* Each page must name the span and the bin. */
static void check_pages(struct check *check, const struct span *span, uint32_t index, size_t pages, unsigned bin)
{
	for (size_t page = 0; page < pages; page++) {
		uintptr_t address = span->start + page * MAP_PAGE;
		uint32_t named = near__pagemap_span(address);
		uint64_t slot = address >> PAGEMAP_LEAF_SHIFT < PAGEMAP_ROOT_ENTRIES ? pagemap_slot(address) : 0;

		if (named == index && slot == bin * BIN_WORDS)
			continue;
		near__check_found(check, "page map: %p is span %u, bin %u; but it says span %u, bin %u",
				  (void *)address, index, bin, named, (unsigned)slot / BIN_WORDS);
		break;
	}
}

static void check_objects(struct check *check, const struct span *span, uint32_t index)
{
	const struct class_info *class = &near__class[span->class];
	unsigned free;

	if (!span->class || span->class > CLASSES) {
		near__check_found(check, "span %u is of class %u", index, span->class);
		return;
	}
	free = near__bits_count(span->free, 0, SPAN_MOST_OBJECTS);
	WRONG_IF(span->used + free != span->fresh || span->fresh > class->objects,
		 "span %u: %u objects are used and %u free, of %u that were taken, of %u", index, span->used, free,
		 span->fresh, class->objects);
	WRONG_IF(bits_next_set(span->free, span->fresh, SPAN_MOST_OBJECTS) < SPAN_MOST_OBJECTS,
		 "span %u: object %u is free, but only %u were ever taken", index,
		 bits_next_set(span->free, span->fresh, SPAN_MOST_OBJECTS), span->fresh);
	WRONG_IF(span->bytes != (size_t) class->pages * MAP_PAGE || span->start % ((size_t) class->align * MAP_PAGE),
		 "span %u (%p, %zu bytes) is not one of class %u", index, (void *)span->start, span->bytes,
		 span->class);
	check_pages(check, span, index, span->bytes / MAP_PAGE, bin_of(span->node, span->class));
	WRONG_IF(span->purging, "span %u is being purged by nobody", index);
	/* One that is not listed comes to light with the first object freed; but not when there is none. */
	WRONG_IF(span->listed != ((check->spans[index] & MET_LISTED) != 0) || (!span->listed && !span->used),
		 "span %u (%u used) says that it is%s listed, and is%s", index, span->used, span->listed ? "" : " not",
		 check->spans[index] & MET_LISTED ? "" : " not");
	check->sums[span->node].span_bytes += span->bytes;
	check->sums[span->node].object_bytes += (size_t)span->used * class->bytes;
}

static void check_mapping(struct check *check, const struct span *span, uint32_t index)
{
	WRONG_IF(span->chunk || !span->start || span->start % MAP_PAGE || span->bytes % MAP_PAGE,
		 "span %u (%p, %zu bytes, chunk %u) is no mapping", index, (void *)span->start, span->bytes,
		 span->chunk);
	if (span->state == SPAN_MAPPED) {
		check->mapped += span->bytes;
		return;
	}
	WRONG_IF(!(check->spans[index] & MET_LISTED), "extent %u (%p) is in no list", index, (void *)span->start);
}

static void check_unowned(struct check *check, const struct span *span, uint32_t index)
{
	uint8_t met = check->spans[index];

	if (span->state == SPAN_UNUSED)
		WRONG_IF(check->whole && !(met & MET_FREE), "span %u is neither in use nor free", index);
	else
		WRONG_IF(check->whole && !(met & MET_LATER), "span %u (%p) is in nobody's hands", index,
			 (void *)span->start);
}

static void check_span(struct check *check, const struct span *span, uint32_t index)
{
	uint32_t state = load_acquire(&span->state);

	if (state > SPAN_EXTENT) {
		near__check_found(check, "span %u is in state %u", index, state);
		return;
	}
	if (state != SPAN_UNUSED) {
		WRONG_IF(check->spans[index] & MET_FREE, "span %u (%p, %s) is among the free records", index,
			 (void *)span->start, states[state]);
		if (span->node >= near__nodes) {
			near__check_found(check, "span %u (%p, %s) is of node %u", index, (void *)span->start,
					  states[state], span->node);
			return;
		}
		if (span->chunk || state == SPAN_OBJECTS || state == SPAN_RUN)
			own_pages(check, span, index);
	}
	if (state == SPAN_OBJECTS)
		check_objects(check, span, index);
	else if (state == SPAN_MAPPED || state == SPAN_EXTENT)
		check_mapping(check, span, index);
	else if (state != SPAN_RUN)
		check_unowned(check, span, index);
	/* One that a dead thread had not told of yet is lost to the child. */
	if ((state == SPAN_RUN || state == SPAN_MAPPED) && check->whole)
		check_pages(check, span, index, 1, 0);
}

/* ---- all -------------------------------------------------------------------------------------------- */

static void check_sums(struct check *check, unsigned node)
{
	const struct heap *heap = near__heap[node];
	const struct sums *sums = &check->sums[node];

	WRONG_IF(heap->span_bytes != sums->span_bytes, "node %u counts %zu bytes of spans, and has %zu", node,
		 heap->span_bytes, sums->span_bytes);
	WRONG_IF(heap->object_bytes != sums->object_bytes, "node %u counts %zu bytes of objects, and has %zu", node,
		 heap->object_bytes, sums->object_bytes);
}

void near__check_spans(struct check *check)
{
	struct place nowhere = {0};

	for (unsigned node = 0; node < near__nodes; node++) {
		for (unsigned class = 1; class <= CLASSES; class ++)
			check_list(check, node, class);
		check_extents(check, node);
		near__check_stack(check, "what is to be given back later", &near__spans,
				  &near__heap[node]->chunks.later, note_later, nowhere);
	}
	for (uint32_t i = POOL_FIRST; i < near__pool_end(&near__spans); i++) {
		const struct span *span = near__pool_peek(&near__spans, i);

		if (span)
			check_span(check, span, i);
	}
	for (unsigned node = 0; check->whole && node < near__nodes; node++)
		check_sums(check, node);
}
