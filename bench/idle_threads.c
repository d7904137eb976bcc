/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * idle_threads: each thread allocates a little, frees it, and then only waits. per_thread is what is resident for each
 * of them, their stacks too, at once and after a while.
 */
#include "objects.h"
#include "team.h"

static unsigned threads;
static unsigned long each;
static pthread_barrier_t all_idle, watched;

static void watch(void)
{
	double base = began.rss;

	report("per_thread_kib", (rss() - base) / threads, "lower");
	stop(threads * each);
	report_freed();
	report("settled_per_thread_kib", (rss() - base) / threads, "lower");
}

static void work(struct member *member)
{
	struct object *objects[each];

	for (unsigned long i = 0; i < each; i++)
		objects[i] = object_new(random_size(&member->random, small_mix), WHOLE, &member->random);
	objects_free(objects, each, WHOLE);
	pthread_barrier_wait(&all_idle);
	if (member->number == 0)
		watch();
	pthread_barrier_wait(&watched);
}

static void run(void)
{
	threads = (unsigned)number("threads", 64);
	each = number("objects", 100);
	if (each > 10000)
		die("no such number of objects");
	pthread_barrier_init(&all_idle, NULL, threads);
	pthread_barrier_init(&watched, NULL, threads);
	start();
	team_run(threads, work);
}

static const char *const rows[] = {"threads=16", "threads=256", "threads=10000", NULL};

int main(int argc, char **argv)
{
	(void)argc;
	return workload_main(argv, &(struct workload){"idle_threads", rows, run});
}
