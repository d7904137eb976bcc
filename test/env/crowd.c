/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * 10,000 threads, each of which has allocated and freed, and now sleeps: nothing of the allocator's stays for it.
 *
 * The library is preloaded, so its own names are looked up.
 */
#include <dlfcn.h>

#include "near/malloc.h"
#include "threads.h"

enum { FEW = 100, ALL = 10000, OBJECTS = 64, GROWTH_MOST = 1 << 20, TRIES = 100 };

static int (*residence)(struct near_residence *, size_t);
static int (*stats)(struct near_stats *, size_t);
static size_t (*trim)(size_t);

static pthread_t threads[ALL];
static unsigned _Atomic idle;
static pthread_mutex_t over = PTHREAD_MUTEX_INITIALIZER;

static void *live(void *seed)
{
	void *mine[OBJECTS];

	for (size_t i = 0; i < OBJECTS; i++) {
		size_t size = (i * 97 + (uintptr_t)seed) % 4000 + 1;

		mine[i] = malloc(size);
		CHECK(mine[i] != NULL);
		memset(mine[i], 1, size);
	}
	for (size_t i = 0; i < OBJECTS; i++)
		free(mine[i]);
	idle++;
	pthread_mutex_lock(&over);
	pthread_mutex_unlock(&over);
	return NULL;
}

/* A few at a time: what many need at once would leave its traces in the metadata. */
static void start(size_t from, size_t to)
{
	for (size_t i = from; i < to; i++) {
		threads[i] = thread_start(live, (void *)i);
		while ((i + 1) % FEW == 0 && idle <= i)
			nap_ms(1);
	}
}

/* What is resident beyond what is in use, for libc has a block for each thread; and beyond what CPUs cache. */
static long resident_beyond(void)
{
	struct near_residence r;
	struct near_stats s;

	trim(0);
	CHECK(residence(&r, sizeof(r)) == 0);
	CHECK(stats(&s, sizeof(s)) == 0);
	return (long)r.total - (long)s.allocated;
}

int main(void)
{
	long before, after;

	*(void **)&residence = dlsym(RTLD_DEFAULT, "near_residence");
	*(void **)&stats = dlsym(RTLD_DEFAULT, "near_stats");
	*(void **)&trim = dlsym(RTLD_DEFAULT, "near_trim");
	CHECK(residence != NULL && stats != NULL && trim != NULL);
	pthread_mutex_lock(&over);
	start(0, FEW);
	before = resident_beyond();
	start(FEW, ALL);
	after = resident_beyond();
	/* While the janitor drains, a trim leaves caches alone. */
	for (int i = 0; i < TRIES && after > before + GROWTH_MOST; i++) {
		nap_ms(10);
		after = resident_beyond();
	}
	fprintf(stderr, "%ld bytes became %ld\n", before, after);
	CHECK(after <= before + GROWTH_MOST);
	pthread_mutex_unlock(&over);
	for (size_t i = 0; i < ALL; i++)
		thread_join(threads[i]);
	return 0;
}
