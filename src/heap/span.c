/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Spans of objects: handing out and taking back a magazine's worth at a time.
 *
 * The bitmap is written under the list's lock only; a set bit is a free object, so a bit already set is a double
 * free. Objects come in address order from the fullest spans, so that the others drain.
 */
#include "base/conf.h"
#include "heap/purge.h"
#include "heap/retain.h"
#include "os/os.h"

enum {
	SPANS_PER_REFILL = 4,	     /* bounds the time under the lock; a short magazine is fine */
	EMPTY_KEPT_BYTES = 64 << 10, /* one empty span of a class is kept, unless it is larger than this */
};

POOL_DEFINE(near__spans, sizeof(struct span), CACHE_LINE);

static struct span *span_at(uint32_t index)
{
	return pool_record(&near__spans, index);
}

/* ---- the list; all under its lock ----------------------------------------------------------------- */

__attribute__((unused)) static bool is_sound(const struct span *span)
{
	unsigned free = near__bits_count(span->free, 0, SPAN_MOST_OBJECTS);

	return span->used + free == span->fresh && span->fresh <= near__class[span->class].objects &&
	       bits_next_set(span->free, span->fresh, SPAN_MOST_OBJECTS) == SPAN_MOST_OBJECTS;
}

static void link_span(struct span_list *list, struct span *span, uint32_t index)
{
	unsigned objects = near__class[span->class].objects;
	unsigned bucket = span->used * SPAN_BUCKETS / objects;
	uint32_t first = list->first[bucket];

	near_invariant(is_sound(span));
	near_invariant(span->used < objects);
	span->bucket = (uint8_t)bucket;
	span->low = (uint16_t)((bucket * objects + SPAN_BUCKETS - 1) / SPAN_BUCKETS);
	span->next = first;
	span->prev = 0;
	store_relaxed(&span->listed, (uint8_t)true);
	if (first)
		span_at(first)->prev = index;
	list->first[bucket] = index;
	list->empties += !span->used;
}

void near__span_unlink(struct span_list *list, struct span *span)
{
	near_invariant(span->listed);
	if (span->prev)
		span_at(span->prev)->next = span->next;
	else
		list->first[span->bucket] = span->next;
	if (span->next)
		span_at(span->next)->prev = span->prev;
	store_relaxed(&span->listed, (uint8_t)false);
	list->empties -= !span->used;
}

static uint32_t fullest(const struct span_list *list)
{
	for (unsigned i = SPAN_BUCKETS; i-- > 0;) {
		if (list->first[i])
			return list->first[i];
	}
	return 0;
}

void near__span_relink(struct span_list *list, struct span *span, uint32_t index)
{
	span->used = (uint16_t)(span->fresh - near__bits_count(span->free, 0, SPAN_MOST_OBJECTS));
	span->listed = false;
	if (span->used < near__class[span->class].objects && !span->purging)
		link_span(list, span, index);
}

/* ---- handing out ---------------------------------------------------------------------------------- */

/* Up to `want` objects to top[0], top[-1], ...; the recycled ones in address order, then fresh ones. */
static unsigned take_from(struct span *span, void **top, unsigned want)
{
	const struct class_info *class = &near__class[span->class];
	uintptr_t start = span->start;
	size_t bytes = class->bytes;
	unsigned got = 0, fresh = span->fresh, words = (fresh + 63) / 64, more;

	for (unsigned w = 0; w < words && got < want; w++) {
		uint64_t bits = span->free[w];

		for (; bits && got < want; bits &= bits - 1) {
			unsigned object = w * 64 + (unsigned)__builtin_ctzll(bits);

			*top-- = (void *)(start + object * bytes);
			got++;
		}
		span->free[w] = bits;
	}
	more = (unsigned)size_min(want - got, class->objects - fresh);
	start += fresh * bytes;
	for (unsigned i = 0; i < more; i++, start += bytes)
		*top-- = (void *)start;
	got += more;
	span->fresh = (uint16_t)(fresh + more);
	span->used = (uint16_t)(span->used + got);
	if (unlikely(load_relaxed(&span->hollow))) {
		near__regret_taken(&near__heap[span->node]->hollow_regret, got * bytes, near__conf.retain_max);
		store_relaxed(&span->hollow, (uint8_t)false);
	}
	store_relaxed(&span->age, (uint8_t)0);
	near_invariant(is_sound(span));
	return got;
}

static unsigned take_listed(struct span_list *list, void **top, unsigned want)
{
	unsigned got = 0, spans = 0;

	for (; got < want && spans < SPANS_PER_REFILL; spans++) {
		uint32_t index = fullest(list);

		if (!index)
			break;

		struct span *span = span_at(index);

		near__span_unlink(list, span);
		got += take_from(span, top - got, want - got);
		if (span->used < near__class[span->class].objects)
			link_span(list, span, index);
	}
	return got;
}

/* A new span in nobody's list; 0 when no memory can be had. */
static uint32_t make_span(unsigned node, unsigned class)
{
	const struct class_info *info = &near__class[class];
	uint32_t index = near__pool_take(&near__spans, node);
	bool zeroed;

	if (!index)
		return 0;

	struct span *span = span_at(index);

	span_renew(span, 0, (size_t)info->pages * MAP_PAGE, class, node);
	if (!near__chunk_take(span, (size_t)info->align * MAP_PAGE, SPAN_HELD, &zeroed)) {
		near__pool_give(&near__spans, index);
		return 0;
	}
	fetch_add_relaxed(&near__heap[node]->span_bytes, span->bytes);
	near__pagemap_set(span->start, info->pages, bin_of(node, class), index);
	return index;
}

/* The span belongs to the caller alone: not listed, nothing used. */
static void release_span(uint32_t index)
{
	struct span *span = span_at(index);

	fetch_sub_relaxed(&near__heap[span->node]->span_bytes, span->bytes);
	near__pagemap_set(span->start, span->bytes / MAP_PAGE, 0, 0);
	near__chunk_give(span, index);
}

static unsigned note_taken(unsigned node, unsigned class, unsigned objects)
{
	struct heap *heap = near__heap[node];
	size_t bytes = (size_t)objects * near__class[class].bytes;

	bytes += fetch_add_relaxed(&heap->object_bytes, bytes);
	if (bytes > load_relaxed(&heap->object_high))
		store_relaxed(&heap->object_high, bytes);
	if (unlikely(load_relaxed(&heap->span_bytes) < bytes + load_relaxed(&heap->hollow)))
		near__heap_note_filled(node);
	return objects;
}

unsigned near__span_take(unsigned node, unsigned class, void **top, unsigned want)
{
	struct span_list *list = &near__heap[node]->spans[class];
	unsigned got;

	if (!lock_acquire(&list->lock))
		return 0;
	got = take_listed(list, top, want);
	lock_release(&list->lock);
	if (got)
		return note_taken(node, class, got);

	uint32_t index = make_span(node, class);

	if (!index)
		return 0;

	/* Nobody else knows the span, so objects can be had without the lock, and then without fail. */
	struct span *span = span_at(index);

	got = take_from(span, top, want);
	if (span->used == near__class[class].objects) {
		store_release(&span->state, (uint32_t)SPAN_OBJECTS);
	} else if (lock_acquire(&list->lock)) {
		store_release(&span->state, (uint32_t)SPAN_OBJECTS);
		link_span(list, span, index);
		lock_release(&list->lock);
	} else {
		/* A signal handler under the lock: the rest of the span comes to light with the first object freed. */
		store_release(&span->state, (uint32_t)SPAN_OBJECTS);
	}
	return note_taken(node, class, got);
}

/* ---- taking back ---------------------------------------------------------------------------------- */

uintptr_t near__span_object(const struct span *span, uintptr_t address)
{
	uintptr_t start = load_relaxed(&span->start);
	size_t bytes = near__class[load_relaxed(&span->class)].bytes;

	/* Of an address that nobody owns: the record may be a large block's by now. */
	if (!bytes || (address - start) / bytes >= load_relaxed(&span->fresh))
		return 0;
	return address - (address - start) % bytes;
}

/* Sets the bits of `n` objects of the span; ends the program at one that is no object of it in use. */
static void set_free(struct span *span, void *const *objects, unsigned n, const char *call)
{
	const struct class_info class = near__class[span->class];
	uintptr_t start = span->start;
	unsigned fresh = span->fresh, word = 0;
	uint64_t bits = span->free[0];

	for (unsigned i = n; i-- > 0;) {
		size_t offset = (uintptr_t)objects[i] - start;
		unsigned object = (unsigned)((uint64_t)offset * class.inverse >> 32);

		if (unlikely((size_t)object * class.bytes != offset))
			near__die("%s(%p): inside a block, not its start", call, objects[i]);
		if (unlikely(object >= fresh))
			near__die("%s(%p): never handed out", call, objects[i]);
		if (object / 64 != word) {
			span->free[word] = bits;
			word = object / 64;
			bits = span->free[word];
		}
		if (unlikely(bits >> (object % 64) & 1))
			near__die("%s(%p): already free", call, objects[i]);
		bits |= 1ull << (object % 64);
	}
	span->free[word] = bits;
}

/* A span that is on no list and not full. False: it is one empty one too many, and to be released after the lock. */
static bool list_or_hold(struct span_list *list, struct span *span, uint32_t index)
{
	if (!span->used && (list->empties || span->bytes > EMPTY_KEPT_BYTES)) {
		store_release(&span->state, (uint32_t)SPAN_HELD);
		return false;
	}
	link_span(list, span, index);
	return true;
}

void near__span_take_back(uint32_t *purging)
{
	uint32_t index = *purging;
	struct span *span = span_at(index);
	struct span_list *list = &near__heap[span->node]->spans[span->class];
	bool stays = true;

	if (!lock_acquire(&list->lock))
		return;
	span->purging = false;
	if (span->used < near__class[span->class].objects)
		stays = list_or_hold(list, span, index);
	compiler_barrier();
	*purging = 0;
	lock_release(&list->lock);
	if (!stays)
		release_span(index);
}

/* `n` objects of one span. Returns the span's index when it is empty now and should go; it is then unlisted. */
static uint32_t give_run(struct span_list *list, uint32_t index, void *const *objects, unsigned n, const char *call)
{
	struct span *span = span_at(index);
	unsigned left;

	set_free(span, objects, n, call);
	left = span->used - n;
	if ((span->listed && left && left >= span->low) || span->purging) {
		span->used = (uint16_t)left;
		return 0;
	}
	if (span->listed)
		near__span_unlink(list, span);
	span->used = (uint16_t)left;
	return list_or_hold(list, span, index) ? 0 : index;
}

/* From the last of n objects down, as long as they live on the node of the last; their records are index[]. */
static unsigned give_to_one_node(unsigned class, void *const *objects, const uint32_t *index, unsigned n,
				 const char *call)
{
	uint32_t empty[MAGAZINE_CAPACITY];
	unsigned node = span_at(index[n - 1])->node, end = n, first, empties = 0;
	struct span_list *list = &near__heap[node]->spans[class];
	bool stale = lock_is_mine(&near__purge_lock); /* what comes out of caches because nobody used it */

	if (!lock_acquire(&list->lock))
		return 0;
	for (; end && span_at(index[end - 1])->node == node; end = first) {
		struct span *span = span_at(index[end - 1]);
		uint32_t gone;

		for (first = end - 1; first && index[first - 1] == index[end - 1];)
			first--;
		gone = give_run(list, index[end - 1], objects + first, end - first, call);
		if (!stale)
			store_relaxed(&span->age, (uint8_t)0);
		else if (span->age == SPAN_PURGED)
			store_relaxed(&span->age, (uint8_t)(SPAN_PURGED - 1));
		if (gone)
			empty[empties++] = gone;
	}
	lock_release(&list->lock);
	while (empties)
		release_span(empty[--empties]);
	near__heap_note_objects(node, (size_t)(n - end) * near__class[class].bytes);
	return n - end;
}

unsigned near__span_give(unsigned class, void *const *objects, unsigned n, const char *call)
{
	uint32_t index[MAGAZINE_CAPACITY];
	unsigned left = n, given = 1;

	for (unsigned i = 0; i < n; i++) {
		/* All of a page are of one span. */
		if (i && !(((uintptr_t)objects[i] ^ (uintptr_t)objects[i - 1]) / MAP_PAGE)) {
			index[i] = index[i - 1];
			continue;
		}
		index[i] = near__pagemap_span((uintptr_t)objects[i]);
		if (unlikely(!index[i] || span_at(index[i])->class != class))
			near__die("%s(%p): already free", call, objects[i]);
		__builtin_prefetch(span_at(index[i]), 1);
	}
	/* Of one node all, unless magazines were adopted by another. */
	for (; left && given; left -= given)
		given = give_to_one_node(class, objects, index, left, call);
	return n - left;
}

/* ---- what lies empty ----------------------------------------------------------------------------------------- */

static uint32_t unlink_empty(struct span_list *list, unsigned age)
{
	uint32_t index = 0;

	if (!load_relaxed(&list->empties) || !lock_acquire(&list->lock))
		return 0;
	index = list->first[0];
	while (index && (span_at(index)->used || span_at(index)->age < age))
		index = span_at(index)->next;
	if (index) {
		near__span_unlink(list, span_at(index));
		store_release(&span_at(index)->state, (uint32_t)SPAN_HELD);
	}
	lock_release(&list->lock);
	return index;
}

void near__span_release_empty(unsigned node, unsigned age)
{
	for (unsigned class = 1; class <= CLASSES; class++) {
		uint32_t index;

		while ((index = unlink_empty(&near__heap[node]->spans[class], age)))
			release_span(index);
	}
}
