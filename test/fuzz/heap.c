/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * The fuzzer of the allocation interface: an input becomes steps of four threads, one after the other or all at once.
 * At its end all blocks are verified, compared for overlap and freed, and then the program must own nothing.
 */
#include <pthread.h>
#include <semaphore.h>

#include "step.h"

enum { HEADER = 1, AT_ONCE = 1, STEPS_MOST = 2000 };

struct worker {
	struct owner owner;
	sem_t go;
};

static struct worker workers[THREADS];
static sem_t done;
static const struct step *steps;
static size_t first, last; /* of the steps whose turn it is */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_mine(const struct worker *me, const struct step *step)
{
	return &workers[step->who % THREADS] == me;
}

static void *work(void *arg)
{
	struct worker *me = arg;

	for (;;) {
		while (sem_wait(&me->go) != 0)
			continue;
		for (size_t i = first; i < last; i++) {
			if (is_mine(me, &steps[i]))
				step_run(&me->owner, &steps[i]);
		}
		sem_post(&done);
	}
	return NULL;
}

static void start(void)
{
	pthread_t thread;

	CHECK(sem_init(&done, 0, 0) == 0);
	for (unsigned i = 0; i < THREADS; i++) {
		CHECK(sem_init(&workers[i].go, 0, 0) == 0);
		CHECK(pthread_create(&thread, NULL, work, &workers[i]) == 0);
	}
}

static void wait_for(unsigned count)
{
	while (count > 0) {
		if (sem_wait(&done) == 0)
			count--;
	}
}

static void run_at_once(size_t count)
{
	first = 0;
	last = count;
	for (unsigned i = 0; i < THREADS; i++)
		sem_post(&workers[i].go);
	wait_for(THREADS);
}

static void run_in_turn(size_t count)
{
	for (first = 0; first < count; first = last) {
		struct worker *next = &workers[steps[first].who % THREADS];

		for (last = first; last < count && is_mine(next, &steps[last]);)
			last++;
		sem_post(&next->go);
		wait_for(1);
	}
}

static void check_overlap(void)
{
	static struct block all[THREADS * BLOCKS];
	struct shadow s = {.blocks = all, .count = THREADS * BLOCKS};

	for (unsigned i = 0; i < THREADS; i++)
		memcpy(&all[i * BLOCKS], workers[i].owner.blocks, sizeof(workers[i].owner.blocks));
	shadow_check_overlap(&s);
}

/* Bytes that the program owns, when it is quiet. */
static uint64_t owned(void)
{
	struct near_stats stats;

	near_trim(0);
	CHECK(near_stats(&stats, sizeof(stats)) == 0);
	return stats.allocated;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool started;
	static uint64_t before;
	size_t count = size < HEADER ? 0 : (size - HEADER) / sizeof(struct step);

	if (!started) {
		start();
		before = owned();
		started = true;
	}
	if (count == 0 || count > STEPS_MOST)
		return -1;
	steps = (const struct step *)(data + HEADER);
	if (data[0] & AT_ONCE)
		run_at_once(count);
	else
		run_in_turn(count);
	check_overlap();
	for (unsigned i = 0; i < THREADS; i++)
		owner_empty(&workers[i].owner);
	gifts_empty();
	CHECK(owned() == before);
	return 0;
}
