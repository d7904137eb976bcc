/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Objects that know their owner.
 *
 * The first and the last word of an object hold its owner's number while it has one and zero while it has none. The
 * allocator never writes there, so a word that is not zero in a new object means that it, or one that overlaps
 * it, belongs to somebody.
 */
#include "malloc/fast.h"
#include "stress.h"

enum { HELD = 400, HANDLER = 1000 };

/* Classes whose magazines differ in capacity, on both sides of the fast path's limit. */
static const size_t sizes[] = {64, 64, 512, 1024, 2048, 4096, 16384, 40960};

static void expect(uint64_t *word, uint64_t old, uint64_t new, const char *what)
{
	if (exchange_acq_rel(word, new) != old)
		die(what);
}

struct object object_take(uint64_t owner, uint64_t *random)
{
	size_t bytes = sizes[next_random(random) % ARRAY_LEN(sizes)];
	struct object object = {fast_malloc(bytes), bytes / 8};

	if (!object.start)
		die("no memory");
	if ((uintptr_t)object.start % 16)
		die("a pointer that is no object");
	expect(&object.start[0], 0, owner, "allocated twice");
	expect(&object.start[object.words - 1], 0, owner, "overlaps another");
	return object;
}

void object_give(struct object object, uint64_t owner)
{
	expect(&object.start[object.words - 1], owner, 0, "another took the end of an object in use");
	expect(&object.start[0], owner, 0, "another took an object in use");
	fast_free(object.start, "free");
}

void objects_work(void)
{
	struct object held[HELD];
	uint64_t random = crew_self * 7919;
	unsigned n = 0, growing = 1;

	while (!crew_stop) {
		if (next_random(&random) % 128 == 0)
			growing = next_random(&random) % 2;
		crew_migrate(&random);
		if (next_random(&random) % 8 < (growing ? 6 : 2) && n < HELD) {
			held[n++] = object_take(crew_self, &random);
		} else if (n) {
			unsigned victim = (unsigned)(next_random(&random) % n);

			object_give(held[victim], crew_self);
			held[victim] = held[--n];
		}
	}
	while (n)
		object_give(held[--n], crew_self);
}

void objects_interrupt(void)
{
	static __thread uint64_t random;
	struct object held[3];

	random += crew_self;
	for (unsigned i = 0; i < ARRAY_LEN(held); i++)
		held[i] = object_take(HANDLER + crew_self, &random);
	for (unsigned i = 0; i < ARRAY_LEN(held); i++)
		object_give(held[i], HANDLER + crew_self);
}
