/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * A library whose fork handler runs before the allocator's (a preloaded library is initialised last) and starts a
 * thread that allocates at once: in the child, locks of dead threads are met, and locks of a living one held, before
 * anybody had a chance to mend.
 */
#include <pthread.h>

#include "check.h"

enum { BLOCKS = 16 };

/* Blocks of more than a class, so that all of them pass through the one lock of the chunks. */
void early_work(unsigned long seed, unsigned rounds)
{
	for (unsigned r = 0; r < rounds; r++) {
		char *block[BLOCKS];
		size_t size[BLOCKS];

		for (unsigned i = 0; i < BLOCKS; i++) {
			size[i] = 270000 + ((seed + r) * 7 + i * 13) % 40 * 8192;
			block[i] = malloc(size[i]);
			CHECK(block[i] != NULL);
			block[i][0] = block[i][size[i] - 1] = (char)(seed + i);
		}
		for (unsigned i = 0; i < BLOCKS; i++) {
			CHECK(block[i][0] == (char)(seed + i) && block[i][size[i] - 1] == (char)(seed + i));
			free(block[i]);
		}
	}
}

static void *work(void *seed)
{
	for (;;)
		early_work((unsigned long)seed, 100);
	return NULL;
}

static void in_child(void)
{
	pthread_t thread;

	if (getpid() & 1) /* else the thread, which has a dead one's stack, is the first to allocate */
		free(opaque(malloc(300000)));
	CHECK(pthread_create(&thread, NULL, work, (void *)100) == 0);
	usleep(300);
}

__attribute__((constructor)) static void start(void)
{
	pthread_atfork(NULL, NULL, in_child);
}
