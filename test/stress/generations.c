/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* Threads that die and leave their blocks to the next generation, which verifies, changes and frees them. */
#include "rest.h"
#include "shadow.h"
#include "threads.h"

enum { LINES = 4, BLOCKS = 800 };

static struct shadow heaps[LINES];

static void *live(void *arg)
{
	struct shadow *heap = arg;

	shadow_verify(heap);
	shadow_steps(heap, 3000);
	return NULL;
}

static void one_generation(void)
{
	pthread_t threads[LINES];

	for (int i = 0; i < LINES; i++)
		threads[i] = thread_start(live, &heaps[i]);
	for (int i = 0; i < LINES; i++)
		thread_join(threads[i]);
}

int main(void)
{
	unsigned long turns = scaled(150);
	long early = 0, late;

	rest_on_signal();
	for (unsigned i = 0; i < LINES; i++)
		shadow_open(&heaps[i], BLOCKS, 500000, i + 1);
	for (unsigned i = 0; i < turns; i++) {
		one_generation();
		rest_alone();
		if (i == turns / 3)
			early = rss_kib();
		for (int k = 0; k < LINES && i % 20 == 0; k++)
			shadow_check_overlap(&heaps[k]);
	}
	late = rss_kib();
	if (late > early * 3 / 2 + 16384)
		fprintf(stderr, "grew from %ld to %ld KiB\n", early, late);
	CHECK(late <= early * 3 / 2 + 16384);
	for (int i = 0; i < LINES; i++)
		shadow_close(&heaps[i]);
	rest_check();
	return 0;
}
