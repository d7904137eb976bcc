/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * larson: a server whose threads replace objects at random, and die young: each leaves its objects to the thread that
 * it starts in its place, so that most are freed by a thread that did not allocate them.
 */
#include "objects.h"
#include "team.h"

struct line { /* of threads, one after the other */
	struct object **objects;
	unsigned long lives;
	uint64_t random;
};

static uint32_t slots;
static unsigned long life;
static size_t least, most;
static sem_t line_ended;

static void *live(void *arg)
{
	struct line *line = arg;
	pthread_t heir;

	for (unsigned long i = 0; i < life; i++) {
		struct object **slot = &line->objects[random_below(&line->random, slots)];

		object_replace(slot, random_between(&line->random, least, most), WHOLE, &line->random);
	}
	if (--line->lives) {
		thread_start(&heir, live, line);
		pthread_detach(heir);
	} else {
		sem_post(&line_ended);
	}
	return NULL;
}

static void run(void)
{
	unsigned threads = (unsigned)number("threads", 8);
	unsigned long lives = scaled("lives", 100, 20);
	struct line *lines = table(threads, sizeof(*lines));

	slots = (uint32_t)number("slots", 1000);
	life = number("ops", 10000);
	least = number("least", 8);
	most = number("most", 1000);
	sem_init(&line_ended, 0, 0);
	for (unsigned i = 0; i < threads; i++)
		lines[i] = (struct line){table(slots, sizeof(struct object *)), lives, seed_of(i)};
	start();
	for (unsigned i = 0; i < threads; i++) {
		pthread_t first;

		thread_start(&first, live, &lines[i]);
		pthread_detach(first);
	}
	for (unsigned i = 0; i < threads; i++)
		sem_wait(&line_ended);
	stop(threads * lives * life);
	for (unsigned i = 0; i < threads; i++)
		objects_free(lines[i].objects, slots, WHOLE);
}

static const char *const rows[] = {"threads=1", "threads=2", "threads=8", NULL};

int main(int argc, char **argv)
{
	(void)argc;
	return workload_main(argv, &(struct workload){"larson", rows, run});
}
