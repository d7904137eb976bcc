/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * watch/check: a process with some of everything is found right; spoiled in one place it is found wrong, in these words,
 * and right again when that is mended.
 */
#include "watch/check.h"

#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "base/conf.h"
#include "malloc/malloc.h"
#include "unit.h"

enum { SMALL = 64, OTHER = 128, MANY = 600, FREED = 500, LINES_MOST = 20 };

/* What one of everything looks like; made by make_some. */
static struct {
	struct cpu_table *table;
	struct bin *bin, *away; /* of SMALL objects of node 0 and, outgoing, of node 1 */
	struct span *span, *other, *run, *mapped, *extent;
	uint32_t span_index;
	struct chunk *chunk;
	struct region *region;
	struct heap *heap;
	struct shelf *full;
	char said[4096];
} here;

static void *take(size_t size, int node)
{
	bool zeroed;
	void *block = near__alloc((struct request){.size = size, .node = node}, &zeroed);

	cr_assert_not_null(block);
	return block;
}

static struct span *span_of(void *block)
{
	return pool_record(&near__spans, near__pagemap_span((uintptr_t)block));
}

/* Takes many and gives most of them back, so that bins, spares and depots have some. */
static struct span *traffic(size_t size, int node)
{
	void *held[MANY];

	for (unsigned i = 0; i < MANY; i++)
		held[i] = take(size, node);
	for (unsigned i = 0; i < FREED; i++)
		near__free_slow(held[i], "free");
	return span_of(held[MANY - 1]);
}

static void purge(void)
{
	cr_assert(lock_try(&near__purge_lock));
	cr_assert_gt(near__chunk_purge(0, 0, SIZE_MAX, true), 0);
	lock_release(&near__purge_lock);
}

static void make_some(void)
{
	uintptr_t empty[2];
	void *freed, *kept;
	uint32_t index;

	unit_two_nodes();
	here.table = unit_pinned_table();
	here.bin = &here.table->bins[bin_of(0, class_of(SMALL))];
	here.away = &here.table->bins[bin_of(1, class_of(SMALL))];
	freed = take(512 * KIB, 0);
	kept = take(4 * MIB, 0);
	here.run = span_of(take(512 * KIB, 0));
	here.mapped = span_of(take(8 * MIB, 0));
	near__free_slow(freed, "free");
	purge();
	traffic(SMALL, 1);
	here.other = traffic(OTHER, 0);
	here.span = traffic(SMALL, 0);
	here.heap = near__heap[0];
	here.span_index = near__pagemap_span(here.span->start);
	here.chunk = pool_record(&near__chunks, here.span->chunk);
	here.region = pool_record(&near__regions, here.chunk->region);
	index = near__pagemap_span((uintptr_t)kept);
	here.extent = pool_record(&near__spans, index);
	cr_assert(near__large_free(here.extent, index)); /* and no slow path that may find it too much */
	here.full = &near__depot[0]->full[class_of(SMALL)];
	for (unsigned i = 0; i < 2; i++)
		empty[i] = near__magazine_take(0, 0);
	for (unsigned i = 0; i < 2; i++)
		near__magazine_give(empty[i], 0);
	near__pool_give(&near__spans, near__pool_take(&near__spans, 0));
	cr_assert(here.bin->spare > SPARE_STUB && here.away->cursor != NIL_CURSOR && stack_top(&here.full->stack));
	cr_assert(here.span->listed && stack_top(&near__depot[0]->empty.stack));
}

/* What it finds, which it says to a file that is read afterwards. */
static int run_check(void)
{
	int error, found, file = memfd_create("said", MFD_CLOEXEC), kept = dup(2);
	ssize_t n;

	dup2(file, 2);
	found = near__check(&error);
	dup2(kept, 2);
	n = pread(file, here.said, sizeof(here.said) - 1, 0);
	here.said[n > 0 ? n : 0] = '\0';
	close(file);
	close(kept);
	cr_assert_eq(error, 0);
	return found;
}

static void expect_clean(const char *after)
{
	int found = run_check();

	cr_assert_eq(found, 0, "%d after %s: %s", found, after, here.said);
	cr_assert_str_empty(here.said);
}

static void expect_found(const char *what, const char *words)
{
	int found = run_check();

	cr_assert_gt(found, 0, "%s is not noticed", what);
	cr_assert(strstr(here.said, words), "%s: no \"%s\" in: %s", what, words, here.said);
	cr_assert_eq(strncmp(here.said, "nearmalloc: check: ", 19), 0);
}

/* Another value in a word is found, in these words. */
#define SPOIL(word, value, words)               \
	do {                                    \
		__typeof__(word) kept = (word); \
		(word) = (value);               \
		expect_found(#word, words);     \
		(word) = kept;                  \
		expect_clean(#word);            \
	} while (0)

#define AT(cursor) (*(uintptr_t *)(cursor))

TEST_IN_BOTH_MODES(check, objects_are_in_one_place)
{
	uintptr_t object;
	unsigned number;

	make_some();
	expect_clean("the start");
	object = AT(here.bin->spare);
	number = (unsigned)((object - here.span->start) / SMALL);
	cr_assert_eq(span_of((void *)object), here.span);
	SPOIL(AT(here.bin->spare), AT(here.bin->spare - 8), "lies in a magazine already");
	SPOIL(AT(here.bin->cursor), object, "lies in a magazine already");
	SPOIL(AT(here.bin->spare), (uintptr_t)&object, "is no object");
	SPOIL(AT(here.bin->spare), here.run->start, "is no object");
	SPOIL(AT(here.bin->spare), 0, "is no object");
	SPOIL(AT(here.bin->spare), object + 16, "lies inside an object");
	SPOIL(AT(here.bin->spare), here.other->start, "is of another class");
	SPOIL(AT(here.bin->spare), AT(here.away->cursor), "is of another node");
	SPOIL(here.span->free[number / 64], 1ull << number % 64, "is free in its span");
	SPOIL(here.span->fresh, number, "was never taken");
}

TEST_IN_BOTH_MODES(check, magazines_are_in_one_place)
{
	uint32_t top;
	struct slot *slot;

	make_some();
	top = stack_top(&here.full->stack);
	slot = pool_slot(&near__magazines, top);
	SPOIL(here.bin->spare, here.bin->cursor, "is in two places");
	SPOIL(here.away->cursor, (uintptr_t)pool_record(&near__magazines, top) + slot->cursor, "is in two places");
	SPOIL(here.away->cursor, NIL_CURSOR, "is nowhere");
	SPOIL(here.bin->spare, SPARE_NONE, "is nowhere");
	SPOIL(here.bin->spare, SPARE_STUB, "is in no magazine");
	SPOIL(here.bin->spare, (uintptr_t)&top, "is in no magazine");
	SPOIL(here.bin->cursor, here.bin->cursor + 4, "is in no magazine");
	SPOIL(pool_slot_at(&near__magazines, here.bin->cursor)->capacity, 0, "below the 0 slots");
	SPOIL(pool_slot_at(&near__magazines, here.bin->spare)->capacity, 1, "has no zero");
	SPOIL(AT(round_down(here.bin->cursor, MAGAZINE_BYTES)), 1, "has no zero");
	SPOIL(slot->cursor, MAGAZINE_BYTES, "has its cursor beyond it");
	SPOIL(slot->cursor,
	      (uint16_t)(slot->cursor -
			 8u * near__magazine_count((uintptr_t)pool_record(&near__magazines, top) + slot->cursor)),
	      "is empty");
	SPOIL(slot->next, top, "is in two places");
	SPOIL(slot->next, UINT32_MAX, "is no record");
	slot = pool_slot(&near__magazines, stack_top(&near__depot[0]->empty.stack));
	SPOIL(slot->cursor, 8, "is not empty");
	SPOIL(slot->next, top, "is in two places");
}

TEST_IN_BOTH_MODES(check, caches_are_counted)
{
	make_some();
	SPOIL(here.table->charged, here.table->charged + 1, "is charged for");
	SPOIL(here.full->held, here.full->held + 1, "magazines are counted");
	SPOIL(here.full->least, here.full->held + 1, "magazines are counted");
	SPOIL(near__depot[0]->empty.held, 0, "magazines are counted");
	SPOIL(near__depot[1]->bytes, 4711, "the depot of node 1 counts");
	SPOIL(here.table->bins[0].spare, SPARE_NONE, "bin 0 of CPU");
	SPOIL(here.table->node, 2, "says CPU");
	SPOIL(near__stub->bins[5].cursor, 0, "bin 5 of the stub");
	SPOIL(near__nil_magazine[7], 1, "slot 7 of the nil magazine");
	SPOIL(LOCAL_BASE[here.table->cpu], near__stub->bins, "on another table");
	SPOIL(CPU_BASE[here.table->cpu], near__stub->bins, "on another table");
	SPOIL(here.table->lock.word, STRANGER, "the lock of the table");
	SPOIL(near__drain_lock.word, STRANGER, "the drain lock is held");
}

TEST_IN_BOTH_MODES(check, spans_are_right)
{
	struct span_list *list;

	make_some();
	list = &here.heap->spans[here.span->class];
	SPOIL(here.span->used, here.span->used + 1, "objects are used and");
	SPOIL(here.span->free[SPAN_WORDS - 1], 1ull << 63, "were ever taken");
	SPOIL(here.span->class, 0, "is of class 0");
	SPOIL(here.span->class, CLASSES + 1, "is of class 97");
	SPOIL(here.span->class, here.other->class, "is listed in class");
	SPOIL(here.span->node, 2, "is of node 2");
	SPOIL(here.span->bytes, here.span->bytes * 2, "is not one of class");
	SPOIL(here.span->start, here.other->start, "overlaps another");
	SPOIL(here.span->chunk, 0, "chunk 0 is none");
	SPOIL(here.span->start, here.span->start + CHUNK_BYTES, "does not lie in its chunk");
	SPOIL(here.span->state, 99u, "is in state 99");
	SPOIL(here.span->state, SPAN_HELD, "is in nobody's hands");
	SPOIL(here.span->state, SPAN_UNUSED, "is neither in use nor free");
	SPOIL(here.span->purging, 1, "is being purged");
	SPOIL(here.span->listed, 0, "says that it is not listed, and is");
	SPOIL(here.span->prev, here.span_index, "says");
	SPOIL(here.span->bucket, here.span->bucket ^ 1, "is in bucket");
	SPOIL(here.span->next, here.span_index, "is listed twice");
	SPOIL(here.span->next, UINT32_MAX, "is none");
	SPOIL(list->empties, list->empties + 1, "are counted as empty");
	SPOIL(list->lock.word, STRANGER, "the lock of the spans");
	SPOIL(here.heap->span_bytes, 1, "bytes of spans");
	SPOIL(here.heap->object_bytes, here.heap->object_bytes - 1, "bytes of objects");
	SPOIL(((struct span *)pool_record(&near__spans, stack_top(&near__spans.free)))->state, SPAN_RUN,
	      "is among the free records");
}

TEST_IN_BOTH_MODES(check, pages_are_right)
{
	unsigned page, free;

	make_some();
	page = (unsigned)((here.run->start - here.chunk->base) / MAP_PAGE);
	free = bits_next_clear(here.chunk->used, 0, CHUNK_PAGES);
	cr_assert_eq(here.run->chunk, here.span->chunk);
	SPOIL(here.chunk->dirty[page / 64], here.chunk->dirty[page / 64] & ~(1ull << page % 64),
	      "both in use and given back");
	SPOIL(here.chunk->used[page / 64], here.chunk->used[page / 64] & ~(1ull << page % 64), "is a span's, and free");
	SPOIL(here.chunk->used[free / 64], here.chunk->used[free / 64] | 1ull << free % 64, "in use, and no span's");
	SPOIL(here.chunk->free, 0, "free pages, ");
	SPOIL(here.chunk->dirty_free, CHUNK_PAGES, "of them dirty");
	SPOIL(here.chunk->longest, 1, "the longest free run");
	SPOIL(here.chunk->on_grid, 1, "the longest free run");
	SPOIL(here.chunk->bucket, here.chunk->bucket ^ 1, "is in bucket");
	SPOIL(here.chunk->in_use, 0, "is neither in use nor free");
	SPOIL(here.chunk->node, 1, "none of its node's");
	SPOIL(here.chunk->base, here.chunk->base + CHUNK_BYTES, "does not lie in its chunk");
	SPOIL(here.chunk->region, 0, "is no chunk of it");
	SPOIL(here.chunk->sibling, here.span->chunk, "it has chunks of");
	SPOIL(here.heap->chunks.nonempty, 0, "is marked as empty");
	SPOIL(here.heap->chunks.committed, 0, "bytes of chunks");
	SPOIL(here.heap->chunks.free_bytes, 0, "bytes of free pages");
	SPOIL(here.heap->chunks.dirty_free, 1, "bytes of free pages");
	SPOIL(here.heap->chunks.reserved, 0, "reserved address space");
	SPOIL(here.heap->chunks.lent[1], ((struct lent){here.span->chunk, 0, 1}), "lends 1 pages");
	SPOIL(here.heap->chunks.lock.word, STRANGER, "the lock of the chunks");
	SPOIL(here.region->busy, 17, "are counted as busy");
	SPOIL(here.region->carved, here.region->carved + CHUNK_BYTES, "are carved");
	SPOIL(here.region->in_use, 0, "is none, or listed twice");
	SPOIL(here.heap->chunks.regions, 0, "and not listed");
	SPOIL(here.region->next, here.chunk->region, "is none, or listed twice");
}

TEST_IN_BOTH_MODES(check, mappings_are_right)
{
	struct extent_list *extents;

	make_some();
	extents = &here.heap->extents;
	SPOIL(here.mapped->bytes, here.mapped->bytes + MAP_PAGE, "mappings of their own");
	SPOIL(here.mapped->start, here.extent->start, "overlap");
	SPOIL(here.mapped->start, here.chunk->base, "overlap");
	SPOIL(here.mapped->start, here.mapped->start + 1, "is no mapping");
	SPOIL(here.extent->state, SPAN_MAPPED, "is none");
	SPOIL(here.extent->bytes, here.extent->bytes - MAP_PAGE, "has no such page");
	SPOIL(extents->first, 0, "is in no list");
	SPOIL(extents->last, 0, "the last is");
	SPOIL(extents->count, 0, "are counted");
	SPOIL(extents->bytes, 0, "are counted");
	SPOIL(extents->lock.word, STRANGER, "the lock of the extents");
}

/* Entry of a page: another than it should have. */
static void spoil_entry(uintptr_t page, unsigned bin, uint32_t span, unsigned bin_before, const char *words)
{
	uint32_t before = near__pagemap_span(page);

	near__pagemap_set(page, 1, bin, span);
	expect_found("the page map", words);
	near__pagemap_set(page, 1, bin_before, before);
	expect_clean("the page map");
}

TEST_IN_BOTH_MODES(check, the_page_map_is_right)
{
	unsigned bin = bin_of(0, class_of(SMALL)), free;

	make_some();
	free = bits_next_clear(here.chunk->used, 0, CHUNK_PAGES);
	spoil_entry(here.span->start, 0, 0, bin, "but it says span 0, bin 0");
	spoil_entry(here.span->start, bin, 0, bin, "but it says span 0");
	spoil_entry(here.span->start, bin + 1, here.span_index, bin, "and not");
	spoil_entry(here.span->start + here.span->bytes - MAP_PAGE, bin, here.span_index + 1, bin, "has no such page");
	spoil_entry(here.run->start, 0, 0, 0, "but it says span 0");
	spoil_entry(here.run->start + MAP_PAGE, 0, near__pagemap_span(here.run->start), 0, "has no such page");
	spoil_entry(here.run->start + MAP_PAGE, bin, 0, 0, "has no such page");
	spoil_entry(here.mapped->start, bin, near__pagemap_span(here.mapped->start), 0, "and not");
	spoil_entry(here.chunk->base + (size_t)free * MAP_PAGE, bin, here.span_index, 0, "has no such page");
	SPOIL(near__pagemap_zero[99], 1, "the zero leaf");
}

/* ---- as a whole ------------------------------------------------------------------------------------- */

/* Flips each bit of a record, but for the members that are hints. */
static void flip_all(void *record, size_t bytes, const char *name, bool (*is_hint)(size_t at))
{
	for (size_t bit = 0; bit < 8 * bytes; bit++) {
		unsigned char *at = (unsigned char *)record + bit / 8, mask = (unsigned char)(1u << bit % 8);

		if (is_hint && is_hint(bit / 8))
			continue;
		*at ^= mask;
		cr_expect_gt(run_check(), 0, "%s: bit %u of byte %zu is not noticed", name, (unsigned)bit % 8, bit / 8);
		*at ^= mask;
	}
	expect_clean(name);
}

#define IS(type, member, at) ((at)-offsetof(type, member) < sizeof(((type *)0)->member))

static bool span_hint(size_t at)
{
	return IS(struct span, age, at) || IS(struct span, low, at) ||
	       (at > offsetof(struct span, purging) && at < offsetof(struct span, free));
}

/* Of `in_use` any value but 0 will do. */
static bool chunk_hint(size_t at)
{
	return IS(struct chunk, in_use, at) ||
	       (at >= offsetof(struct chunk, huge) && at < offsetof(struct chunk, used));
}

static bool region_hint(size_t at)
{
	return IS(struct region, base, at) || at >= offsetof(struct region, in_use);
}

/* Above another place in the same magazine the objects are the program's, as far as can be known. */
static bool cursor_hint(size_t at)
{
	return at % sizeof(uintptr_t) < 2;
}

Test(check, whatever_is_wrong_is_noticed_and_does_no_harm, .timeout = 120)
{
	struct slot *slot;

#ifdef __SANITIZE_ADDRESS__
	cr_skip_test("a bool that is neither ends the program under UBSan");
#endif
	make_some();
	slot = pool_slot_at(&near__magazines, here.bin->cursor);
	flip_all(here.span, sizeof(*here.span), "span", span_hint);
	flip_all(here.chunk, sizeof(*here.chunk), "chunk", chunk_hint);
	flip_all(here.region, sizeof(*here.region), "region", region_hint);
	flip_all(here.bin, sizeof(*here.bin), "bin", cursor_hint);
	flip_all(&slot->capacity, sizeof(slot->capacity), "capacity", NULL);
	slot = pool_slot(&near__magazines, stack_top(&here.full->stack));
	flip_all(&slot->next, sizeof(slot->next), "next", NULL);
}

Test(check, what_is_said_is_bounded)
{
	unsigned lines = 0;

	make_some();
	for (unsigned i = 0; i < MAGAZINE_SLOTS; i++)
		near__nil_magazine[i] = 1;
	cr_assert_eq(run_check(), MAGAZINE_SLOTS);
	for (const char *at = here.said; (at = strchr(at, '\n')); at++)
		lines++;
	cr_assert_eq(lines, LINES_MOST + 1);
	cr_assert(strstr(here.said, "and 236 more"), "%s", here.said);
}

Test(check, nothing_yet_is_right)
{
	expect_clean("nothing");
}

Test(check, refuses_under_the_purge_lock_and_without_memory)
{
	struct rlimit all, none = {0};
	int error;

	make_some();
	cr_assert_eq(getrlimit(RLIMIT_AS, &all), 0);
	none.rlim_max = all.rlim_max;
	cr_assert_eq(setrlimit(RLIMIT_AS, &none), 0);
	cr_assert_eq(near__check(&error), -1);
	cr_assert_eq(setrlimit(RLIMIT_AS, &all), 0);
	cr_assert_eq(error, ENOMEM);
	expect_clean("a want of memory");
	cr_assert(lock_try(&near__purge_lock));
	cr_assert_eq(near__check(&error), -1);
	cr_assert_eq(error, EBUSY);
	lock_release(&near__purge_lock);
}

/* Nobody's things are no violation in a child; those that two have are. */
static void lose_and_double(void)
{
	int error;

	here.away->cursor = NIL_CURSOR;
	if (near__check(&error))
		_exit(1);
	here.bin->spare = here.bin->cursor;
	_exit(near__check(&error) > 0 ? 0 : 2);
}

TEST_IN_BOTH_MODES(check, a_child_may_have_lost_what_was_in_hands)
{
	struct ending end;

	make_some();
	end = unit_child(fork, lose_and_double);
	cr_assert_eq(end.status, 0, "status %x: %s", end.status, end.text);
	cr_assert(strstr(end.text, "is in two places"), "%s", end.text);
}
