/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * tail_latency: how long single calls take while several threads allocate: 64 bytes freed at once (live=0), or objects
 * of mixed sizes, so many alive in each thread, replaced at random.
 */
#include "latency.h"
#include "objects.h"
#include "team.h"

static unsigned long each;
static uint32_t live;
static struct latency *all_got, *all_freed;
static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;

static void *get_timed(struct latency *latency, size_t size)
{
	uint64_t from = ticks();
	void *memory = bench_malloc(size);

	latency_add(latency, from, ticks());
	return checked(memory, size, 16);
}

static void put_timed(struct latency *latency, void *memory)
{
	uint64_t from = ticks();

	bench_free(memory);
	latency_add(latency, from, ticks());
}

static void replace_timed(struct object **slot, uint64_t *random, struct latency *got, struct latency *freed)
{
	size_t size = random_size(random, small_mix);

	object_spoil(*slot, WHOLE);
	put_timed(freed, *slot);
	*slot = object_in(get_timed(got, size), size, WHOLE, random);
}

static void work(struct member *member)
{
	struct latency *got = latency_new(), *freed = latency_new();
	struct object **objects = table(live + 1, sizeof(*objects));

	for (uint32_t i = 0; i < live; i++)
		objects[i] = object_new(random_size(&member->random, small_mix), WHOLE, &member->random);
	for (unsigned long i = 0; i < each; i++) {
		if (live)
			replace_timed(&objects[random_below(&member->random, live)], &member->random, got, freed);
		else
			put_timed(freed, get_timed(got, 64));
	}
	objects_free(objects, live, WHOLE);
	pthread_mutex_lock(&all_lock);
	latency_merge(all_got, got);
	latency_merge(all_freed, freed);
	pthread_mutex_unlock(&all_lock);
}

static void run(void)
{
	unsigned threads = (unsigned)number("threads", 8);

	live = (uint32_t)number_or_0("live", 0);
	each = scaled("ops", live ? 200000 : 500000, 100000);
	all_got = latency_new();
	all_freed = latency_new();
	latency_prepare();
	team_run(threads, work);
	latency_report("malloc", all_got);
	latency_report("free", all_freed);
	stop(each * threads);
}

static const char *const rows[] = {"live=0", "live=10000", NULL};

int main(int argc, char **argv)
{
	(void)argc;
	return workload_main(argv, &(struct workload){"tail_latency", rows, run});
}
