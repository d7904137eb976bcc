/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* heap/span: the order of objects, what misuse is seen, which span is preferred, and when empty ones go. */
#include <stdio.h>

#include "heap_check.h"
#include "unit.h"

enum { CLASS = 4, BYTES = 64, MOST = 1024 }; /* a span of this class has just so many objects */

/* The objects of a call, the lowest address first. */
static unsigned take(unsigned class, void **objects, unsigned want)
{
	void *magazine[MOST];
	unsigned got = near__span_take(0, class, magazine + MOST - 1, want);

	for (unsigned i = 0; i < got; i++)
		objects[i] = magazine[MOST - 1 - i];
	cr_assert_null(heap_wrong(0, true), "%s", heap_wrong(0, true));
	return got;
}

static void give(unsigned class, void *const *objects, unsigned n)
{
	for (unsigned i = 0; i < n; i += MAGAZINE_CAPACITY) {
		unsigned part = n - i < MAGAZINE_CAPACITY ? n - i : MAGAZINE_CAPACITY;

		cr_assert(near__span_give(bin_of(0, class), objects + i, part, "free"));
	}
	cr_assert_null(heap_wrong(0, true), "%s", heap_wrong(0, true));
}

static struct span *span_of(const void *object)
{
	return span_or_null(near__pagemap_span((uintptr_t)object));
}

static unsigned spans_in_use(void)
{
	unsigned n = 0;

	for (uint32_t i = 1; i < near__pool_end(&near__spans); i++)
		n += span_or_null(i) && span_or_null(i)->state == SPAN_OBJECTS;
	return n;
}

Test(span, fresh_objects_come_in_address_order)
{
	void *objects[100];

	cr_assert_eq(take(CLASS, objects, 100), 100);
	for (unsigned i = 1; i < 100; i++)
		cr_assert_eq((char *)objects[i], (char *)objects[i - 1] + BYTES);
	cr_assert_eq(span_of(objects[0])->used, 100);
}

Test(span, recycled_objects_come_first_and_in_address_order)
{
	void *objects[100], *back[20], *again[30];

	take(CLASS, objects, 100);
	for (unsigned i = 0; i < 20; i++)
		back[i] = objects[(i * 37 + 5) % 100];
	give(CLASS, back, 20);
	cr_assert_eq(take(CLASS, again, 30), 30);
	for (unsigned i = 1; i < 30; i++)
		cr_assert_gt(again[i], again[i - 1]);
	cr_assert_eq(again[20], (char *)objects[99] + BYTES, "then fresh ones");
}

Test(span, every_class_hands_out_all_of_its_spans)
{
	static void *objects[MOST];

	for (unsigned class = 1; class <= CLASSES; class ++) {
		unsigned n = near__class[class].objects;

		for (unsigned got = 0; got < n;)
			got += take(class, objects + got, n - got);
		for (unsigned i = 0; i < n; i++) {
			cr_assert_eq((uintptr_t)objects[i] % 16, 0);
			cr_assert(!is_power_of_two(near__class[class].bytes) ||
				  (uintptr_t)objects[i] % near__class[class].bytes == 0);
			memset(objects[i], 0x5a, near__class[class].bytes);
		}
		cr_assert_eq(span_of(objects[0])->used, n);
		cr_assert_eq(span_of(objects[0]), span_of(objects[n - 1]));
		give(class, objects, n);
	}
}

Test(span, a_refill_is_bounded_but_never_empty)
{
	static void *objects[MOST * 8];
	void *some[MAGAZINE_CAPACITY];

	for (unsigned i = 0; i < 8; i++)
		take(CLASS, objects + i * MOST, MOST);
	for (unsigned i = 0; i < 8; i++)
		give(CLASS, &objects[i * MOST], 1);
	/* One free object in each of eight spans: a refill does not walk through all of them. */
	cr_assert(take(CLASS, some, 63) >= 1);
	cr_assert_leq(take(CLASS, some, 63), 4);
}

Test(span, the_fullest_span_is_preferred)
{
	static void *objects[3][MOST];
	void *one[10];

	for (unsigned i = 0; i < 3; i++)
		cr_assert_eq(take(CLASS, objects[i], MOST), MOST);
	give(CLASS, objects[0], 800);
	give(CLASS, objects[1], 40); /* the fullest */
	give(CLASS, objects[2], 400);
	for (unsigned i = 0; i < 40; i++) {
		cr_assert_eq(take(CLASS, one, 1), 1);
		cr_assert_eq(span_of(one[0]), span_of(objects[1][MOST - 1]));
	}
	cr_assert_eq(take(CLASS, one, 10), 10);
	for (unsigned i = 0; i < 10; i++)
		cr_assert_eq(span_of(one[i]), span_of(objects[2][MOST - 1]));
}

Test(span, empty_spans_go_but_for_one)
{
	static void *objects[4][MOST];
	struct chunk_heap *chunks = &near__heap[0]->chunks;

	for (unsigned i = 0; i < 4; i++)
		take(CLASS, objects[i], MOST);
	cr_assert_eq(spans_in_use(), 4);
	for (unsigned i = 0; i < 4; i++)
		give(CLASS, objects[i], MOST);
	cr_assert_eq(spans_in_use(), 1);
	cr_assert_eq(near__heap[0]->spans[CLASS].empties, 1);
	cr_assert_eq(chunks->dirty_free, 3 * (size_t)near__class[CLASS].pages * MAP_PAGE);
	cr_assert_eq(unit_span_trim(0), 0, "chunks, not the kernel, get them");
	cr_assert_eq(spans_in_use(), 0);
	cr_assert_eq(chunks->dirty_free, 4 * (size_t)near__class[CLASS].pages * MAP_PAGE);
	cr_assert_null(heap_wrong(0, true));
	cr_assert_eq(unit_span_trim(0), 0);
}

/* A batch goes back by runs of objects of one span; a span may have several, and is empty after its last. */
Test(span, runs_of_several_spans_in_one_batch)
{
	static void *objects[2][MOST], *mixed[2 * MOST];
	unsigned n = 0;

	for (unsigned s = 0; s < 2; s++)
		cr_assert_eq(take(CLASS, objects[s], MOST), MOST);
	/* Runs of 1 to 7 objects of either span by turns, those of one span up and down through its bitmap. */
	for (unsigned i = 0, run = 1; i < MOST; run = run % 7 + 1) {
		unsigned end = i + run < MOST ? i + run : MOST;

		for (unsigned s = 0; s < 2; s++) {
			for (unsigned k = i; k < end; k++)
				mixed[n++] = objects[s][k * 37 % MOST];
		}
		i = end;
	}
	give(CLASS, mixed, 600);
	n = span_of(objects[0][0])->used + span_of(objects[1][0])->used;
	cr_assert_eq(n, 2 * MOST - 600);
	for (unsigned i = 0; i < 2 * MOST; i++)
		cr_assert_eq(near__span_object(span_of(mixed[i]), (uintptr_t)mixed[i]), (uintptr_t)mixed[i]);
	give(CLASS, mixed + 600, 2 * MOST - 600);
	cr_assert_eq(spans_in_use(), 1);
	cr_assert_eq(near__heap[0]->spans[CLASS].empties, 1);
}

/* Whole pages without an object in use go back to the kernel, once, and nothing else does. */
Test(span, trim_purges_free_pages_of_partly_used_spans)
{
	unsigned class = class_of(1024), objects = near__class[class].objects, kept = objects / 2;
	void *object[SPAN_MOST_OBJECTS];
	size_t bytes, most = (size_t)near__class[class].pages * MAP_PAGE;

	cr_assert_eq(take(class, object, objects), objects);
	for (unsigned i = 0; i < objects; i++)
		memset(object[i], 0xa5, 1024);
	for (unsigned i = 0; i < objects; i++) {
		if (i != kept)
			give(class, object + i, 1);
	}
	bytes = unit_span_trim(0);
	cr_assert(bytes >= most - 2 * near__os_page_size && bytes < most, "%zu of %zu", bytes, most);
	for (unsigned i = 0; i < 1024; i++)
		cr_assert_eq(((unsigned char *)object[kept])[i], 0xa5);
	cr_assert_eq(*(unsigned char *)object[kept ? 0 : objects - 1], 0);
	cr_assert_eq(unit_span_trim(0), 0, "nothing came back since");
	cr_assert_null(heap_wrong(0, true));
}

Test(span, empty_spans_of_large_classes_all_go)
{
	void *object;
	unsigned class = class_of(CLASS_LARGEST);

	cr_assert_eq(take(class, &object, 1), 1);
	give(class, &object, 1);
	cr_assert_eq(spans_in_use(), 0);
	cr_assert_eq(near__pagemap_span((uintptr_t)object), 0);
}

Test(span, random_traffic_keeps_all_invariants, .timeout = 60)
{
	static void *held[4000];
	static unsigned class_held[4000];
	uint64_t random = 3;
	unsigned n = 0;

	for (unsigned round = 0; round < 3000; round++) {
		unsigned class = 1 + (unsigned)(unit_random(&random) % CLASSES);
		unsigned want = 1 + (unsigned)(unit_random(&random) % near__class[class].capacity);

		if (n + want < ARRAY_LEN(held) && unit_random(&random) % 2) {
			unsigned got = near__span_take(0, class, held + n + want - 1, want);

			memmove(held + n, held + n + want - got, got * sizeof(*held));
			for (unsigned i = 0; i < got; i++)
				class_held[n++] = class;
		}
		for (unsigned gone = 0; n && gone < 20; gone++) {
			unsigned victim = (unsigned)(unit_random(&random) % n);

			cr_assert(near__span_give(bin_of(0, class_held[victim]), &held[victim], 1, "free"));
			held[victim] = held[--n];
			class_held[victim] = class_held[n];
		}
		cr_assert(round % 64 || !heap_wrong(0, true), "%s", heap_wrong(0, true));
	}
	while (n--)
		cr_assert(near__span_give(bin_of(0, class_held[n]), &held[n], 1, "free"));
	unit_span_trim(0);
	cr_assert_null(heap_wrong(0, true));
	cr_assert_eq(spans_in_use(), 0);
}

Test(span, objects_are_found_from_inside)
{
	void *objects[2];
	struct span *span;

	take(CLASS, objects, 2);
	span = span_of(objects[0]);
	for (unsigned i = 0; i < BYTES; i++) {
		cr_assert_eq(near__span_object(span, (uintptr_t)objects[1] + i), (uintptr_t)objects[1]);
		cr_assert_eq(near__span_object(span, (uintptr_t)objects[1] + BYTES + i), 0, "never handed out");
	}
}

/* ---- misuse --------------------------------------------------------------------------------------- */

static void *pair[2];

static void give_twice_at_once(void)
{
	pair[1] = pair[0];
	near__span_give(bin_of(0, CLASS), pair, 2, "free");
}

static void give_twice(void)
{
	near__span_give(bin_of(0, CLASS), pair, 1, "free");
	near__span_give(bin_of(0, CLASS), pair, 1, "free");
}

/* Twice in one batch, with an object of another word of the bitmap between: each word is written back and read again. */
static void give_twice_across_words(void)
{
	void *across[] = {pair[0], (char *)pair[0] + (size_t)64 * BYTES, pair[0]};

	near__span_give(bin_of(0, CLASS), across, 3, "free");
}

static void give_inside(void)
{
	void *inside = (char *)pair[0] + 16;

	near__span_give(bin_of(0, CLASS), &inside, 1, "realloc");
}

static void give_untaken(void)
{
	void *beyond = (char *)pair[1] + BYTES;

	near__span_give(bin_of(0, CLASS), &beyond, 1, "free");
}

static void give_after_the_span_went(void)
{
	void *large;

	near__span_take(0, CLASSES, &large, 1);
	near__span_give(bin_of(0, CLASSES), &large, 1, "free");
	near__span_give(bin_of(0, CLASSES), &large, 1, "free");
}

Test(span, misuse_ends_the_program)
{
	static void *many[65];
	char address[64];

	take(CLASS, many, 65);
	pair[0] = many[0];
	pair[1] = many[64];
	snprintf(address, sizeof(address), "free(%p): already free", pair[0]);
	unit_expect_death(give_twice, address);
	unit_expect_death(give_twice_at_once, address);
	unit_expect_death(give_twice_across_words, address);
	snprintf(address, sizeof(address), "realloc(%p): inside a block, not its start",
		 (void *)((char *)pair[0] + 16));
	unit_expect_death(give_inside, address);
	unit_expect_death(give_untaken, "never handed out");
	unit_expect_death(give_after_the_span_went, "already free");
}

/* ---- interrupted ---------------------------------------------------------------------------------- */

Test(span, a_thread_that_holds_the_lock_is_refused)
{
	struct span_list *list = &near__heap[0]->spans[CLASS];
	void *object, *other;

	cr_assert_eq(take(CLASS, &object, 1), 1);
	cr_assert(lock_acquire(&list->lock));
	cr_assert_eq(near__span_take(0, CLASS, &other, 1), 0);
	cr_assert_not(near__span_give(bin_of(0, CLASS), &object, 1, "free"));
	cr_assert_eq(unit_span_trim(0), 0);
	lock_release(&list->lock);
	give(CLASS, &object, 1);
}

Test(span, objects_survive_a_refused_chunk)
{
	struct lock *lock = &near__heap[0]->chunks.lock;
	void *object;

	cr_assert(lock_acquire(lock));
	cr_assert_eq(near__span_take(0, CLASS, &object, 1), 0);
	lock_release(lock);
	cr_assert_eq(take(CLASS, &object, 1), 1);
	give(CLASS, &object, 1);
}
