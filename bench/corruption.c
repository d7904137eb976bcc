/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * corruption: blocks of mixed sizes, aligned ones and blocks of 1 MiB, filled, and checked before each free. All
 * threads share them: what one allocates another frees.
 */
#include <stdatomic.h>

#include "objects.h"
#include "team.h"

enum { ONE_MIB = 1 << 20, LARGE_SHARE = 100 };

static _Atomic(struct object *) *slots;
static uint32_t slot_count;
static unsigned long each;

static struct object *another(uint64_t *random)
{
	size_t size = random_between(random, 16, 16 << 10), alignment;
	uint32_t kind = random_below(random, LARGE_SHARE);

	if (kind == 0)
		return object_new(ONE_MIB, WHOLE, random);
	if (kind > 20)
		return object_new(size, WHOLE, random);
	alignment = (size_t)32 << random_below(random, 10);
	return object_in(get_aligned(alignment, size), size, WHOLE, random);
}

static void work(struct member *member)
{
	for (unsigned long i = 0; i < each; i++) {
		uint32_t slot = random_below(&member->random, slot_count);

		object_free(atomic_exchange(&slots[slot], another(&member->random)), WHOLE);
	}
}

static void run(void)
{
	unsigned threads = (unsigned)number("threads", 1);

	slot_count = (uint32_t)number("slots", 4000);
	each = scaled("ops", 200000, 40000) / threads;
	slots = table(slot_count, sizeof(*slots));
	team_run(threads, work);
	stop(each * threads);
	for (uint32_t i = 0; i < slot_count; i++)
		object_free(atomic_load(&slots[i]), WHOLE);
	report_freed();
}

static const char *const rows[] = {"threads=1", "threads=4", NULL};

int main(int argc, char **argv)
{
	(void)argc;
	return workload_main(argv, &(struct workload){"corruption", rows, run});
}
