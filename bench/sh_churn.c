/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * sh_churn: waves of small objects, the smaller the more of them. A wave fills all free slots; then an old part of
 * them is freed in order, a part at random and the newest backwards, as programs do that end a job, expire entries,
 * and unwind.
 */
#include "objects.h"
#include "team.h"

static uint32_t slots;
static unsigned long waves;
static size_t least, most;

static size_t some_size(uint64_t *random)
{
	size_t a = random_between(random, least, most), b = random_between(random, least, most);

	return a < b ? a : b;
}

static void release(struct object **slot)
{
	object_free(*slot, WHOLE);
	*slot = NULL;
}

static void work(struct member *member)
{
	struct object **objects = table(slots, sizeof(*objects));
	uint64_t *random = &member->random;

	for (unsigned long wave = 0; wave < waves; wave++) {
		uint32_t quarter = slots / 4, oldest = (uint32_t)(wave % 4) * quarter,
			 newest = (oldest + 2 * quarter) % slots;

		for (uint32_t i = 0; i < slots; i++) {
			if (!objects[i])
				objects[i] = object_new(some_size(random), WHOLE, random);
		}
		objects_free(objects + oldest, quarter, WHOLE);
		for (uint32_t i = 0; i < quarter; i++)
			release(&objects[random_below(random, slots)]);
		for (uint32_t i = quarter; i-- > 0;)
			release(&objects[(newest + i) % slots]);
	}
	objects_free(objects, slots, WHOLE);
}

static void run(void)
{
	unsigned threads = (unsigned)number("threads", 1);

	slots = (uint32_t)number("slots", 20000);
	least = number("least", 8);
	most = number("most", 1000);
	waves = scaled("waves", 160, 40) / threads;
	team_run(threads, work);
	stop(waves * slots * 5 / 8 * threads);
}

static const char *const rows[] = {"threads=1", "threads=8", NULL};

int main(int argc, char **argv)
{
	(void)argc;
	return workload_main(argv, &(struct workload){"sh_churn", rows, run});
}
