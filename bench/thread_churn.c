/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * thread_churn: thousands of short threads, a few at a time; each allocates a mix of objects, and frees all but one,
 * which the thread that comes after it frees. growth is what became resident after the first tenth: nothing should.
 */
#include "objects.h"
#include "team.h"

static unsigned objects;

struct life {
	unsigned number;
	struct object *inherited;
	pthread_t thread;
};

static void *live(void *arg)
{
	struct life *life = arg;
	struct object *mine[objects];
	uint64_t random = seed_of(life->number);

	for (unsigned i = 0; i < objects; i++)
		mine[i] = object_new(random_size(&random, small_mix), WHOLE, &random);
	objects_free(mine + 1, objects - 1, WHOLE);
	object_free(life->inherited, WHOLE);
	life->inherited = mine[0];
	return NULL;
}

static void run(void)
{
	unsigned threads = (unsigned)scaled("threads", 10000, 2000), at_once = (unsigned)number("at_once", 4);
	struct life *lives = table(at_once, sizeof(*lives));
	double early = 0;

	objects = (unsigned)number("objects", 200);
	if (objects > 10000 || threads < at_once)
		die("no such variant");
	start();
	for (unsigned i = 0; i < threads; i++) {
		struct life *life = &lives[i % at_once];

		if (i >= at_once)
			pthread_join(life->thread, NULL);
		if (i == threads / 10)
			early = rss();
		life->number = i;
		thread_start(&life->thread, live, life);
	}
	for (unsigned i = 0; i < at_once; i++) {
		pthread_join(lives[i].thread, NULL);
		object_free(lives[i].inherited, WHOLE);
	}
	report("growth_kib", stop(threads) - early, "lower");
	report_freed();
}

int main(int argc, char **argv)
{
	(void)argc;
	return workload_main(argv, &(struct workload){"thread_churn", NULL, run});
}
