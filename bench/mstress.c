/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * mstress: threads allocate, keep some of it for long, and exchange objects through a table that all share, so that
 * they wander from thread to thread. New threads begin several times; what the old ones left in the table remains.
 */
#include <stdatomic.h>

#include "objects.h"
#include "team.h"

enum { TRANSFERS = 1000 };

static _Atomic(struct object *) transfers[TRANSFERS];
static struct object **all_kept; /* of each thread its slots */
static unsigned long each;
static uint32_t slots;

/* Small ones mostly, now and then 64 KiB. */
static size_t some_size(uint64_t *random)
{
	uint32_t kind = random_below(random, 1000);

	return random_doubling(random, 16, kind < 900 ? 256 : kind < 990 ? 4096 : 65536);
}

static void work(struct member *member)
{
	struct object **kept = all_kept + (size_t)member->number * slots;
	uint64_t *random = &member->random;

	for (unsigned long i = 0; i < each; i++) {
		struct object **slot = &kept[random_below(random, slots)];
		uint32_t percent = random_below(random, 100);

		if (percent < 25)
			*slot = atomic_exchange(&transfers[random_below(random, TRANSFERS)], *slot);
		else
			object_replace(slot, some_size(random), WHOLE, random);
	}
	objects_free(kept, slots, WHOLE);
}

static void run(void)
{
	unsigned threads = (unsigned)number("threads", 8);
	unsigned long rounds = scaled("rounds", 8, 4);

	slots = (uint32_t)number("slots", 2000);
	each = scaled("ops", 200000, 25000);
	all_kept = table((size_t)threads * slots, sizeof(*all_kept));
	for (unsigned long i = 0; i < rounds; i++)
		team_run(threads, work);
	stop(rounds * threads * each);
	for (unsigned i = 0; i < TRANSFERS; i++)
		object_free(transfers[i], WHOLE);
	report_freed();
}

static const char *const rows[] = {"threads=1", "threads=2", "threads=8", NULL};

int main(int argc, char **argv)
{
	(void)argc;
	return workload_main(argv, &(struct workload){"mstress", rows, run});
}
