/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Free pages back to the kernel.
 *
 * A run of a chunk that is being purged is marked as used, and noted in heap->lent; a span that is being purged is on no
 * list, and marked. So nobody is handed memory that is about to become zeros, and nobody waits for the kernel.
 */
#include "heap/purge.h"

#include "base/conf.h"
#include "heap/huge.h"
#include "heap/retain.h"
#include "os/os.h"

struct lock near__purge_lock;
bool near__purger_survives;
uint32_t near__purging_spans[LENT_MOST];

/* ---- chunks ----------------------------------------------------------------------------------------- */

static uint64_t give_back(const struct iovec *range, unsigned n)
{
	return near__os_purge_ranges(range, n, near__conf.purge == CONF_PURGE_FREE);
}

bool near__purge_may_wait(void)
{
	return !near__os_holds_a_lock || !near__os_holds_a_lock();
}

/*
 * The last run of dirty free pages that ends at or before `end`, whole kernel pages from the first dirty one to the last, and
 * of it no more than the last `most`: runs are taken from the front, so what stays there is used first.
 */
static bool find_dirt(const struct chunk *chunk, unsigned end, unsigned most, struct lent *run)
{
	unsigned grain = (unsigned)(near__os_page_size / MAP_PAGE), at = 0;

	run->pages = 0;
	while ((at = bits_next_clear(chunk->used, at, end)) < end) {
		unsigned next = bits_next_set(chunk->used, at, end);
		unsigned from = (unsigned)round_up(at, grain), to = (unsigned)round_down(next, grain);

		at = next;
		if (from >= to)
			continue;
		from = (unsigned)round_down(bits_next_set(chunk->dirty, from, to), grain);
		while (to > from && !near__bits_any(chunk->dirty, to - grain, grain))
			to -= grain;
		if (from >= to)
			continue;
		most = (unsigned)round_up(size_max(most, 1), grain);
		from = to - from > most ? to - most : from;
		run->at = (uint16_t)from;
		run->pages = (uint16_t)(to - from);
	}
	return run->pages;
}

/* Runs that end at or before `end`, from the last on, of `most` bytes at most. Returns how many. */
static unsigned lend(struct chunk_heap *heap, unsigned node, uint32_t index, unsigned end, size_t most)
{
	struct chunk *chunk = near__pool_peek(&near__chunks, index);
	unsigned left = (unsigned)size_min(most / MAP_PAGE, CHUNK_PAGES), n = 0;
	struct lent run = {.chunk = index, .at = (uint16_t)end};

	if (!lock_acquire(&heap->lock))
		return 0;
	/* H1: a page that is being touched is there only when that has ended. */
	while (n < LENT_MOST && (left || !n) && chunk->in_use && chunk->node == node && !load_acquire(&chunk->touching) &&
	       find_dirt(chunk, run.at, left, &run)) {
		heap->lent[n] = run;
		compiler_barrier();
		if (!n++)
			near__chunk_unlink(heap, chunk);
		near__bits_set(chunk->used, run.at, run.pages);
		left -= (unsigned)size_min(left, run.pages);
	}
	if (n)
		near__chunk_settle(heap, chunk, index);
	lock_release(&heap->lock);
	return n;
}

/* The first n of what is lent; bit i of `purged`: that went back. */
static size_t take_back(struct chunk_heap *heap, uint32_t index, unsigned n, uint64_t purged)
{
	struct chunk *chunk = pool_record(&near__chunks, index);
	size_t bytes = 0;

	if (!lock_acquire(&heap->lock))
		return 0;
	near__chunk_unlink(heap, chunk);
	for (unsigned i = 0; i < n; i++) {
		const struct lent *run = &heap->lent[i];

		near__bits_clear(chunk->used, run->at, run->pages);
		if (purged >> i & 1) {
			bytes += (size_t)near__bits_count(chunk->dirty, run->at, run->pages) * MAP_PAGE;
			near__bits_clear(chunk->dirty, run->at, run->pages);
		}
	}
	if (bytes) {
		store_relaxed(&heap->given_back, heap->given_back + bytes);
		near__regret_given(&heap->regret, near__heap_resident(chunk->node, bytes));
	}
	near__chunk_settle(heap, chunk, index);
	compiler_barrier();
	for (unsigned i = 0; i < n; i++)
		heap->lent[i].pages = 0;
	lock_release(&heap->lock);
	return bytes;
}

/* What the thread that came along in a fork could not mend, for it held the lock: nobody purges now but we. */
static void take_back_orphans(struct chunk_heap *heap)
{
	unsigned n = 0;

	while (n < LENT_MOST && heap->lent[n].pages)
		n++;
	if (n)
		take_back(heap, heap->lent[0].chunk, n, 0);
}

/* One chunk, some runs at a time from the last to the first. */
static size_t purge_chunk(unsigned node, uint32_t index, size_t keep, size_t most, bool *refused)
{
	struct chunk_heap *heap = &near__heap[node]->chunks;
	struct chunk *chunk = near__pool_peek(&near__chunks, index);
	unsigned end = CHUNK_PAGES, n;
	size_t bytes = 0, dirty;

	while (bytes < most && (dirty = load_relaxed(&heap->dirty_free)) > keep &&
	       (n = lend(heap, node, index, end, size_min(most - bytes, dirty - keep)))) {
		struct iovec range[LENT_MOST];
		uint64_t purged;

		for (unsigned i = 0; i < n; i++) {
			const struct lent *run = &heap->lent[i];

			range[i].iov_base = (void *)(chunk->base + (size_t)run->at * MAP_PAGE);
			range[i].iov_len = (size_t)run->pages * MAP_PAGE;
		}
		end = heap->lent[n - 1].at;
		purged = give_back(range, n);
		*refused |= purged != UINT64_MAX >> (64 - n);
		bytes += take_back(heap, index, n, purged);
	}
	if (bytes && (load_relaxed(&chunk->free) < CHUNK_PAGES || load_relaxed(&chunk->dirty_free)))
		near__huge_split(chunk);
	return bytes;
}

enum pick { PICK_EMPTY, PICK_MUCH, PICK_ANY, PICKS, MUCH_PAGES = 64 };

static bool picks(const struct chunk *chunk, unsigned node, enum pick pick, bool split)
{
	unsigned dirty, free;

	if (!chunk || !load_acquire(&chunk->in_use) || chunk->node != node)
		return false;
	dirty = load_relaxed(&chunk->dirty_free);
	free = load_relaxed(&chunk->free);
	if (!dirty || (free < CHUNK_PAGES && chunk_is_huge(chunk) && !split))
		return false;
	return pick == PICK_EMPTY ? free == CHUNK_PAGES : pick == PICK_ANY || dirty >= MUCH_PAGES;
}

size_t near__chunk_purge(unsigned node, size_t keep, size_t most, bool split)
{
	struct chunk_heap *heap = &near__heap[node]->chunks;
	uint32_t end = near__pool_end(&near__chunks);
	size_t bytes = 0;
	bool refused = false;

	if (!near__purge_may_wait())
		return 0;
	take_back_orphans(heap);
	for (enum pick pick = PICK_EMPTY; pick < PICKS; pick++) {
		for (uint32_t i = POOL_FIRST; i < end && bytes < most && load_relaxed(&heap->dirty_free) > keep; i++) {
			if (picks(near__pool_peek(&near__chunks, i), node, pick, split))
				bytes += purge_chunk(node, i, keep, most - bytes, &refused);
		}
	}
	store_relaxed(&heap->stuck, refused ? load_relaxed(&heap->dirty_free) : 0);
	return bytes;
}

/* ---- spans ------------------------------------------------------------------------------------------ */

/*
 * Spans that are out of circulation, near__purging_spans[], and ranges of them that are to go back by one call. Nothing of
 * ours lies there, so they may read as zero from now on.
 */
struct batch {
	unsigned spans, ranges;
	bool squeezes;
	size_t bytes;		 /* in ranges so far, the flushed ones included */
	size_t given[LENT_MOST]; /* bytes of each span */
	uint8_t owner[OS_MOST_RANGES];
	struct iovec range[OS_MOST_RANGES];
};

static void give_back_batch(struct batch *batch)
{
	uint64_t purged = batch->ranges ? give_back(batch->range, batch->ranges) : 0;

	for (unsigned i = 0; i < batch->ranges; i++) {
		if (purged >> i & 1)
			batch->given[batch->owner[i]] += batch->range[i].iov_len;
		else
			batch->bytes -= batch->range[i].iov_len;
	}
	batch->ranges = 0;
}

static void note_given(const struct batch *batch, struct span *span, size_t bytes)
{
	if (span->chunk)
		near__huge_split(pool_record(&near__chunks, span->chunk));
	if (batch->squeezes && !load_relaxed(&span->hollow)) {
		near__regret_given(&near__heap[span->node]->hollow_regret, bytes);
		store_relaxed(&span->hollow, (uint8_t)true);
	}
}

static void flush(struct batch *batch)
{
	give_back_batch(batch);
	for (unsigned i = 0; i < batch->spans; i++) {
		struct span *span = pool_record(&near__spans, near__purging_spans[i]);

		if (batch->given[i])
			note_given(batch, span, batch->given[i]);
		near__span_take_back(&near__purging_spans[i]);
	}
	batch->spans = 0;
}

/* What is known of a span at one moment: objects may come back meanwhile, but none are handed out. */
struct view {
	uintptr_t start;
	size_t bytes;
	const struct class_info *class;
	unsigned fresh;
	uint64_t free[SPAN_WORDS];
};

static bool is_free(const struct view *view, unsigned object)
{
	return object >= view->fresh || bit_test(view->free, object);
}

/* Whole pages of which every object is free, of the batch's last span. False: there is none. */
static bool add_pages(struct batch *batch, const struct view *view)
{
	size_t page = size_max(near__os_page_size, MAP_PAGE);
	bool any = false;

	for (unsigned object = 0; object < view->class->objects; object++) {
		unsigned first = object;

		while (object < view->class->objects && is_free(view, object))
			object++;

		size_t end = object < view->class->objects ? object * (size_t)view->class->bytes : view->bytes;
		uintptr_t from = round_up(view->start + first * (size_t)view->class->bytes, page);
		uintptr_t to = round_down(view->start + end, page);

		if (object == first || to <= from)
			continue;
		if (batch->ranges == OS_MOST_RANGES)
			give_back_batch(batch);
		batch->owner[batch->ranges] = (uint8_t)(batch->spans - 1);
		batch->range[batch->ranges++] = (struct iovec){(void *)from, to - from};
		batch->bytes += to - from;
		any = true;
	}
	return any;
}

/* A listed span of the node that is old enough and not purged yet, off its list and into the batch, which has room. */
static bool lend_span(struct batch *batch, struct span *span, uint32_t index, unsigned node, unsigned age,
		      struct view *view)
{
	unsigned class = load_relaxed(&span->class);
	struct span_list *list = &near__heap[node]->spans[class];
	bool found;

	if (!class || class > CLASSES || !lock_acquire(&list->lock))
		return false;
	/* Under the lock a listed span stays what it is; whether it is this list's is to be asked again. */
	found = span->state == SPAN_OBJECTS && span->listed && span->node == node && span->class == class &&
		span->age >= age && span->age != SPAN_PURGED;
	if (found) {
		near__purging_spans[batch->spans] = index;
		batch->given[batch->spans++] = 0;
		compiler_barrier();
		span->purging = true;
		span->age = SPAN_PURGED; /* what comes back meanwhile makes it young again */
		near__span_unlink(list, span);
		*view = (struct view){
			.start = span->start, .bytes = span->bytes, .class = &near__class[class], .fresh = span->fresh};
		for (unsigned w = 0; w < SPAN_WORDS; w++)
			view->free[w] = span->free[w];
	}
	lock_release(&list->lock);
	return found;
}

/* If it is at least this old. The batch is to be flushed in the end. */
static void purge_span(struct batch *batch, struct span *span, uint32_t index, unsigned node, unsigned age)
{
	struct view view;

	if (load_relaxed(&span->age) < age || load_relaxed(&span->age) == SPAN_PURGED)
		return;
	if (batch->spans == LENT_MOST)
		flush(batch);
	if (lend_span(batch, span, index, node, age, &view) && !add_pages(batch, &view))
		near__span_take_back(&near__purging_spans[--batch->spans]);
}

/* Requests miss what is lent: not for longer than it takes to look at so many records. */
static void flush_in_time(struct batch *batch, uint32_t i)
{
	enum { RECORDS = 256 };

	if (i % RECORDS == 0)
		flush(batch);
}

static struct span *objects_at(uint32_t index)
{
	struct span *span = near__pool_peek(&near__spans, index);

	return span && load_acquire(&span->state) == SPAN_OBJECTS ? span : NULL;
}

/* Not under numa_strict: nobody would claim what is handed out there again. Asks all locks of all nodes, so once. */
static bool begin_spans(void)
{
	if (near__topology.strict || !near__purge_may_wait())
		return false;
	for (unsigned i = 0; i < LENT_MOST; i++) { /* as in take_back_orphans */
		if (near__purging_spans[i])
			near__span_take_back(&near__purging_spans[i]);
	}
	return true;
}

size_t near__span_purge(unsigned node, unsigned age)
{
	uint32_t end = begin_spans() ? near__pool_end(&near__spans) : 0;
	struct batch batch = {0};

	for (uint32_t i = POOL_FIRST; i < end; i++) {
		struct span *span = objects_at(i);

		flush_in_time(&batch, i);
		if (span && span->node == node)
			purge_span(&batch, span, i, node, age);
	}
	flush(&batch);
	return batch.bytes;
}

/* It may have a page that was used and is free; a hint. */
static bool is_squeezable(const struct span *span)
{
	unsigned used = load_relaxed(&span->used), fresh = load_relaxed(&span->fresh);

	return used < fresh && (size_t)(fresh - used) * near__class[load_relaxed(&span->class)].bytes >= MAP_PAGE &&
	       load_relaxed(&span->chunk);
}

uint32_t near__span_squeeze(unsigned node, uint32_t from, uint32_t records, size_t most)
{
	uint32_t end = begin_spans() ? near__pool_end(&near__spans) : 0, i = from;
	struct batch batch = {.squeezes = true};

	for (; i < end && i - from < records && batch.bytes < most; i++) {
		struct span *span = objects_at(i);

		flush_in_time(&batch, i);
		if (span && span->node == node && is_squeezable(span))
			purge_span(&batch, span, i, node, 0);
	}
	flush(&batch);
	return i < end ? i : 0;
}

uint32_t near__span_look(uint32_t from, uint32_t records, unsigned age, bool *left)
{
	uint32_t end = near__pool_end(&near__spans), i = from;
	bool purge = begin_spans();
	struct batch batch = {0};

	for (; i < end && i - from < records; i++) {
		struct span *span = objects_at(i);

		flush_in_time(&batch, i);
		if (!span || load_relaxed(&span->age) == SPAN_PURGED)
			continue;
		if (load_relaxed(&span->age) < SPAN_PURGED - 1)
			store_relaxed(&span->age, (uint8_t)(span->age + 1)); /* may undo a use: a look too old */
		if (purge && load_relaxed(&span->listed)) {
			/* Not all at once: spread over the second half of the time. */
			purge_span(&batch, span, i, span->node, age - i % (age / 2 + 1));
			*left |= load_relaxed(&span->age) != SPAN_PURGED;
		}
	}
	flush(&batch);
	return i < end ? i : 0;
}
