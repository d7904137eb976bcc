/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * threadtest: threads that share nothing allocate many objects of one size, touch them, and free them in the same
 * order, again and again. All threads together have 100,000 objects.
 */
#include "objects.h"
#include "team.h"

static unsigned long each, rounds;
static size_t size;

static void work(struct member *member)
{
	struct object **objects = table(each, sizeof(*objects));

	for (unsigned long round = 0; round < rounds; round++) {
		for (unsigned long i = 0; i < each; i++)
			objects[i] = object_new(size, 16, &member->random);
		objects_free(objects, each, 16);
	}
}

static void run(void)
{
	unsigned threads = (unsigned)number("threads", 1);

	each = number("objects", 100000) / threads;
	size = number("size", 64);
	rounds = size < 1024 ? scaled("rounds", 60, 15) : scaled("rounds", 4, 1);
	team_run(threads, work);
	stop(each * rounds * threads);
}

static const char *const rows[] = {"threads=1 size=64", "threads=1 size=8", "threads=4 size=64", "threads=4 size=2048",
				   NULL};

int main(int argc, char **argv)
{
	(void)argc;
	return workload_main(argv, &(struct workload){"threadtest", rows, run});
}
