/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Free pages back to the kernel, and how many of them a node may retain.
 *
 * A run of a chunk that is being purged is marked as used, and noted in heap->lent; a span that is being purged is on no
 * list, and marked. So nobody is handed memory that is about to become zeros, and nobody waits for the kernel.
 */
#include "heap/purge.h"

#include "base/conf.h"
#include "os/os.h"

struct lock near__purge_lock;
bool near__purger_survives;
uint32_t near__purging_span;
uint32_t near__heap_wishes;
bool near__heap_decays;

/* ---- how much may be retained ---------------------------------------------------------------------- */

enum {
	RETAIN_LEAST = 1 << 20,
	REGRET_SHARE = 4, /* of what is given back, so much less may be retained the next time; of what is taken again, all */
	USE_SHARE = 8,	  /* of what is in use and resident may be retained, without decay; */
	USE_SHARE_DECAYS = 4,
	DENSITY_ALL = 256,
	SAMPLES = 4,
	SHRINK_SHARE = 4,	/* of the objects that there were only one part in this many are left: so ask what caches hold */
	SPARSE_LEAST = 2 << 20, /* bytes of holes in spans that are worth looking at, */
	SPARSE_TIMES = 2,	/* when they are so many times what is in use */
};

/* What is in use and resident, as far as samples tell. */
static size_t resident_part(const struct chunk_heap *heap, size_t bytes)
{
	unsigned density = load_relaxed(&heap->density);

	return density ? bytes / DENSITY_ALL * density : bytes; /* 0: not sampled yet */
}

static size_t in_use(const struct chunk_heap *heap)
{
	size_t committed = load_relaxed(&heap->committed), free = load_relaxed(&heap->free_bytes);

	return committed > free ? committed - free : 0;
}

static unsigned resident_used(const struct chunk *chunk)
{
	unsigned char resident[CHUNK_PAGES] = {0};
	unsigned grain = (unsigned)(near__os_page_size / MAP_PAGE), pages = 0;

	near__os_residence((void *)chunk->base, CHUNK_BYTES, resident);
	for (unsigned page = 0; page < CHUNK_PAGES; page++)
		pages += (resident[page / grain] & 1) && load_relaxed(&chunk->used[page / 64]) >> (page % 64) & 1;
	return pages;
}

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

size_t near__chunk_allowance(unsigned node)
{
	const struct chunk_heap *heap = &near__heap[node]->chunks;

	if (!near__conf.decay_ms)
		return near__conf.initial_pool;
	if (load_relaxed(&near__heap_decays))
		return near__conf.initial_pool + near__conf.retain_max +
		       resident_part(heap, in_use(heap) / USE_SHARE_DECAYS);
	return near__conf.initial_pool +
	       size_min(near__conf.retain_max, RETAIN_LEAST + load_relaxed(&heap->regret.regretted)) +
	       resident_part(heap, in_use(heap) / USE_SHARE);
}

size_t near__extent_allowance(unsigned node)
{
	if (!near__conf.decay_ms)
		return 0;
	if (load_relaxed(&near__heap_decays))
		return near__conf.extent_cache;
	return size_min(near__conf.extent_cache, load_relaxed(&near__heap[node]->extents.regret.regretted));
}

void near__heap_sample(unsigned node)
{
	struct chunk_heap *heap = &near__heap[node]->chunks;
	uint32_t end = near__pool_end(&near__chunks), i = heap->sampled;
	unsigned used = 0, resident = 0, density = load_relaxed(&heap->density);

	for (unsigned n = 0, tries = 0; n < SAMPLES && tries < end; tries++) {
		const struct chunk *chunk;

		i = i + 1 < end ? i + 1 : 1;
		chunk = near__pool_peek(&near__chunks, i);
		if (!chunk || !load_acquire(&chunk->in_use) || chunk->node != node || load_relaxed(&chunk->free) > CHUNK_PAGES / 4)
			continue;
		resident += resident_used(chunk);
		used += CHUNK_PAGES - load_relaxed(&chunk->free);
		n++;
	}
	heap->sampled = i;
	if (!used)
		return;
	used = (unsigned)size_min((size_t)resident * DENSITY_ALL / used, DENSITY_ALL);
	store_relaxed(&heap->density, (unsigned)size_max(1, density ? (density * 3 + used) / 4 : used));
}

size_t near__heap_retained(unsigned node)
{
	return load_relaxed(&near__heap[node]->chunks.dirty_free) + load_relaxed(&near__heap[node]->extents.bytes);
}

static void wish(uint32_t bit)
{
	if (!(load_relaxed(&near__heap_wishes) & bit))
		fetch_or_relaxed(&near__heap_wishes, bit);
}

void near__heap_wish(unsigned node)
{
	const struct heap *heap = near__heap[node];

	if (load_relaxed(&heap->chunks.dirty_free) > near__chunk_allowance(node) ||
	    load_relaxed(&heap->extents.bytes) > near__extent_allowance(node))
		wish(HEAP_TOO_MUCH);
}

/* ---- huge pages ------------------------------------------------------------------------------------- */

enum {
	HUGE_USED = CHUNK_PAGES / 4 * 3,
	HUGE_SHARE = 8,	 /* if of the pages in use in a chunk before not one part in this many is untouched */
	HUGE_BACK = 4,	 /* so many chunks before: that one should be in use by now */
	HUGE_SPLITS = 8192, /* chunks that may have got other pages again: each costs the kernel mappings */
};

/*
 * Bytes in use from which on chunks get huge pages. Where a hypervisor backs memory when it is first touched, a huge page
 * costs a multiple of its small ones at once, which pays in heaps whose use of the TLB shows.
 */
size_t near__huge_least = 4 * GIB;
static uint32_t splits;

static unsigned used_pages(const struct chunk *chunk)
{
	return CHUNK_PAGES - load_relaxed(&chunk->free);
}

void near__heap_huge(struct chunk_heap *heap, struct chunk *chunk)
{
	const struct chunk *before = chunk;

	if (near__conf.thp != CONF_THP_AUTO || in_use(heap) < near__huge_least || load_relaxed(&splits) >= HUGE_SPLITS)
		return;
	for (unsigned i = 0; i < HUGE_BACK && before->sibling; i++)
		before = pool_record(&near__chunks, before->sibling);
	if (before == chunk || used_pages(before) < HUGE_USED ||
	    resident_used(before) < used_pages(before) - used_pages(before) / HUGE_SHARE)
		return;
	chunk->huge = !near__os_huge((void *)chunk->base, CHUNK_BYTES, true);
}

/* Part of it was given back, and the kernel should not fill the hole. */
static void split_huge(struct chunk *chunk)
{
	if (!chunk->huge || load_relaxed(&splits) >= HUGE_SPLITS)
		return;
	chunk->huge = false;
	fetch_add_relaxed(&splits, 1u);
	near__os_huge((void *)chunk->base, CHUNK_BYTES, false);
}

/* ---- what was taken and given ----------------------------------------------------------------------- */

void near__heap_note_objects(unsigned node, size_t freed)
{
	struct heap *heap = near__heap[node];
	size_t objects = fetch_sub_relaxed(&heap->object_bytes, freed) - freed, spans = load_relaxed(&heap->span_bytes);

	if (load_relaxed(&near__heap_decays))
		return;
	if (unlikely(objects < load_relaxed(&heap->object_high) / SHRINK_SHARE) ||
	    unlikely(spans > objects + size_max(SPARSE_LEAST, SPARSE_TIMES * objects)))
		wish(HEAP_SPARSE);
}

/* ---- chunks ----------------------------------------------------------------------------------------- */

static int give_back(void *start, size_t bytes)
{
	return near__conf.purge == CONF_PURGE_FREE ? near__os_purge_lazily(start, bytes) : near__os_purge(start, bytes);
}

static bool may_wait(void)
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
	while ((at = near__bits_next_clear(chunk->used, at, end)) < end) {
		unsigned next = near__bits_next_set(chunk->used, at, end);
		unsigned from = (unsigned)round_up(at, grain), to = (unsigned)round_down(next, grain);

		at = next;
		if (from >= to)
			continue;
		from = (unsigned)round_down(near__bits_next_set(chunk->dirty, from, to), grain);
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

static bool lend(struct chunk_heap *heap, unsigned node, unsigned end, size_t most, struct lent *run)
{
	struct chunk *chunk = near__pool_peek(&near__chunks, run->chunk);
	bool found;

	if (!lock_acquire(&heap->lock))
		return false;
	found = chunk->in_use && chunk->node == node &&
		find_dirt(chunk, end, (unsigned)size_min(most / MAP_PAGE, CHUNK_PAGES), run);
	if (found) {
		heap->lent = *run;
		compiler_barrier();
		near__chunk_unlink(heap, chunk);
		near__bits_set(chunk->used, run->at, run->pages);
		near__chunk_settle(heap, chunk, run->chunk);
	}
	lock_release(&heap->lock);
	return found;
}

static size_t take_back(struct chunk_heap *heap, const struct lent *run, bool purged)
{
	struct chunk *chunk = pool_record(&near__chunks, run->chunk);
	size_t bytes = 0;

	if (!lock_acquire(&heap->lock))
		return 0;
	near__chunk_unlink(heap, chunk);
	near__bits_clear(chunk->used, run->at, run->pages);
	if (purged) {
		bytes = (size_t)near__bits_count(chunk->dirty, run->at, run->pages) * MAP_PAGE;
		near__bits_clear(chunk->dirty, run->at, run->pages);
		store_relaxed(&heap->given_back, heap->given_back + bytes);
		near__regret_given(&heap->regret, bytes);
	}
	near__chunk_settle(heap, chunk, run->chunk);
	compiler_barrier();
	heap->lent.pages = 0;
	lock_release(&heap->lock);
	return bytes;
}

/* One chunk, a run at a time from the last to the first. */
static size_t purge_chunk(unsigned node, uint32_t index, size_t keep, size_t most)
{
	struct chunk_heap *heap = &near__heap[node]->chunks;
	struct chunk *chunk = near__pool_peek(&near__chunks, index);
	struct lent run = {.chunk = index, .at = CHUNK_PAGES};
	size_t bytes = 0, dirty;

	while (bytes < most && (dirty = load_relaxed(&heap->dirty_free)) > keep &&
	       lend(heap, node, run.at, size_min(most - bytes, dirty - keep), &run)) {
		void *start = (void *)(chunk->base + (size_t)run.at * MAP_PAGE);

		bytes += take_back(heap, &run, !give_back(start, (size_t)run.pages * MAP_PAGE));
	}
	if (bytes && load_relaxed(&chunk->free) < CHUNK_PAGES)
		split_huge(chunk);
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
	if (!dirty || (free < CHUNK_PAGES && chunk->huge && !split))
		return false;
	return pick == PICK_EMPTY ? free == CHUNK_PAGES : pick == PICK_ANY || dirty >= MUCH_PAGES;
}

size_t near__chunk_purge(unsigned node, size_t keep, size_t most, bool split)
{
	const struct chunk_heap *heap = &near__heap[node]->chunks;
	uint32_t end = near__pool_end(&near__chunks);
	size_t bytes = 0;

	if (!may_wait())
		return 0;
	for (enum pick pick = PICK_EMPTY; pick < PICKS; pick++) {
		for (uint32_t i = 1; i < end && bytes < most && load_relaxed(&heap->dirty_free) > keep; i++) {
			if (picks(near__pool_peek(&near__chunks, i), node, pick, split))
				bytes += purge_chunk(node, i, keep, most - bytes);
		}
	}
	return bytes;
}

/* ---- spans ------------------------------------------------------------------------------------------ */

/* What is known of the span at one moment: objects may come back meanwhile, but none are handed out. */
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

/* Whole pages of which every object is free. Nothing of ours lies in them, so they may read as zero from now on. */
static size_t purge_view(const struct view *view)
{
	size_t page = size_max(near__os_page_size, MAP_PAGE), bytes = 0;

	for (unsigned object = 0; object < view->class->objects; object++) {
		unsigned first = object;

		while (object < view->class->objects && is_free(view, object))
			object++;

		size_t from = round_up(first * (size_t)view->class->bytes, page);
		size_t end = object < view->class->objects ? object * (size_t)view->class->bytes : view->bytes;
		size_t to = round_down(end, page);

		if (object > first && to > from && !give_back((void *)(view->start + from), to - from))
			bytes += to - from;
	}
	return bytes;
}

/* A listed span of the node that is old enough and not purged yet, off its list. */
static bool lend_span(struct span *span, uint32_t index, unsigned node, unsigned age, struct view *view)
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
		near__purging_span = index;
		compiler_barrier();
		span->purging = true;
		near__span_unlink(list, span);
		*view = (struct view){
			.start = span->start, .bytes = span->bytes, .class = &near__class[class], .fresh = span->fresh};
		for (unsigned w = 0; w < SPAN_WORDS; w++)
			view->free[w] = span->free[w];
	}
	lock_release(&list->lock);
	return found;
}

static void take_span_back(struct span *span, uint32_t index)
{
	struct span_list *list = &near__heap[span->node]->spans[span->class];

	if (!lock_acquire(&list->lock))
		return;
	span->purging = false;
	near__span_relink(list, span, index);
	span->age = SPAN_PURGED;
	compiler_barrier();
	near__purging_span = 0;
	lock_release(&list->lock);
}

/* `at` least this old. Returns bytes. */
static size_t purge_span(struct span *span, uint32_t index, unsigned node, unsigned age)
{
	struct view view;
	size_t bytes;

	if (load_relaxed(&span->age) < age || load_relaxed(&span->age) == SPAN_PURGED ||
	    !lend_span(span, index, node, age, &view))
		return 0;
	bytes = purge_view(&view);
	if (bytes && span->chunk)
		split_huge(pool_record(&near__chunks, span->chunk));
	take_span_back(span, index);
	return bytes;
}

static struct span *objects_at(uint32_t index)
{
	struct span *span = near__pool_peek(&near__spans, index);

	return span && load_acquire(&span->state) == SPAN_OBJECTS ? span : NULL;
}

/* Under numa_strict nobody would claim what is handed out there again. */
static bool may_purge_spans(void)
{
	return !near__topology.strict && may_wait();
}

size_t near__span_purge(unsigned node, unsigned age)
{
	uint32_t end = near__pool_end(&near__spans);
	size_t bytes = 0;

	for (uint32_t i = 1; i < end && may_purge_spans(); i++) {
		struct span *span = objects_at(i);

		if (span && span->node == node)
			bytes += purge_span(span, i, node, age);
	}
	return bytes;
}

uint32_t near__span_look(uint32_t from, uint32_t records, unsigned age, bool *left)
{
	uint32_t end = near__pool_end(&near__spans);
	bool purge = may_purge_spans();

	for (uint32_t i = from; i < end; i++) {
		struct span *span = objects_at(i);

		if (i - from == records)
			return i;
		if (!span || load_relaxed(&span->age) == SPAN_PURGED)
			continue;
		if (load_relaxed(&span->age) < SPAN_PURGED - 1)
			store_relaxed(&span->age, (uint8_t)(span->age + 1)); /* may undo a use: a look too old */
		if (purge && load_relaxed(&span->listed)) {
			/* Not all at once: spread over the second half of the time. */
			purge_span(span, i, span->node, age - i % (age / 2 + 1));
			*left |= load_relaxed(&span->age) != SPAN_PURGED;
		}
	}
	return 0;
}
