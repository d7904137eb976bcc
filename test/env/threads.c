/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* Threads in unusual numbers and sizes: ten thousand at once, the smallest stacks, cancelled ones, short-lived ones. */
#include <limits.h>

#include "shadow.h"
#include "threads.h"

enum { CROWD = 10000 };

static pthread_barrier_t all_here;
static pthread_t crowd[CROWD];

static void *one_of_many(void *arg)
{
	struct block b[4];

	for (unsigned i = 0; i < 4; i++) {
		b[i] = (struct block){.size = 24 + 300 * i};
		b[i].ptr = malloc(b[i].size);
		CHECK(b[i].ptr != NULL);
		block_fill(&b[i], (uintptr_t)arg * 4 + i);
	}
	pthread_barrier_wait(&all_here);
	for (unsigned i = 0; i < 4; i++) {
		block_verify(&b[i]);
		free(b[i].ptr);
	}
	return NULL;
}

static void ten_thousand(void)
{
	unsigned started = 0;
	long rss;

	pthread_barrier_init(&all_here, NULL, CROWD + 1);
	while (started < CROWD &&
	       thread_try(&crowd[started], 65536, one_of_many, (void *)(uintptr_t)started) == 0)
		started++;
	if (started < CROWD)
		skip("the system does not let us have 10,000 threads");
	rss = rss_kib();
	pthread_barrier_wait(&all_here);
	for (unsigned i = 0; i < CROWD; i++)
		thread_join(crowd[i]);
	/* a thread costs its stack and its blocks, nothing that the allocator adds for it */
	CHECK(rss < 10 * 1024 + CROWD * 24);
}

static void *small_life(void *arg)
{
	struct block b = {.size = 100};
	uint64_t random = (uintptr_t)arg;

	for (int i = 0; i < 400; i++) {
		b.size = b.asked = random_size(&random, 4u << 20);
		b.ptr = i % 3 == 0 ? aligned_alloc(256, b.size) : malloc(b.size);
		CHECK(b.ptr != NULL);
		block_fill(&b, random);
		b.ptr = realloc(b.ptr, b.size + 5000);
		CHECK(b.ptr != NULL);
		block_verify(&b);
		free(b.ptr);
	}
	malloc_trim(0);
	return NULL;
}

static void with_stack(size_t stack)
{
	for (int round = 0; round < 20; round++) {
		pthread_t threads[8];

		for (int i = 0; i < 8; i++)
			CHECK(thread_try(&threads[i], stack, small_life, (void *)(uintptr_t)(i + 1)) == 0);
		for (int i = 0; i < 8; i++)
			thread_join(threads[i]);
	}
}

static void minimum_stacks(void)
{
	with_stack((size_t)sysconf(_SC_THREAD_STACK_MIN));
}

static void small_stacks(void)
{
	with_stack(65536);
}

static void drop_shadow(void *s)
{
	shadow_close(s);
}

/* malloc is no cancellation point; the cancel request lies there all the time and strikes at the nap. */
static void *until_cancelled(void *arg)
{
	struct shadow s;

	shadow_open(&s, 100, 400000, (uint64_t)(uintptr_t)arg);
	pthread_cleanup_push(drop_shadow, &s);
	for (;;) {
		shadow_steps(&s, 50);
		if (random_below(&s.random, 8) == 0)
			pthread_testcancel();
	}
	pthread_cleanup_pop(0);
	return NULL;
}

static void cancelled(void)
{
	for (unsigned i = 0; i < scaled(400); i++) {
		pthread_t threads[4];
		void *result;

		for (uintptr_t k = 0; k < 4; k++)
			threads[k] = thread_start(until_cancelled, (void *)(i * 4 + k + 1));
		if (i % 2)
			sched_yield();
		for (int k = 0; k < 4; k++)
			pthread_cancel(threads[k]);
		for (int k = 0; k < 4; k++) {
			CHECK(pthread_join(threads[k], &result) == 0);
			CHECK(result == PTHREAD_CANCELED);
		}
	}
}

/* Asynchronous cancellation is allowed outside of malloc; switching it on and off around must do no harm. */
static void *cancelled_at_once(void *arg)
{
	for (;;) {
		void *p = malloc((uintptr_t)arg);
		int before;

		free(p);
		pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &before);
		for (volatile int i = 0; i < 200; i++)
			continue;
		pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &before);
	}
	return NULL;
}

static void cancelled_asynchronously(void)
{
	for (unsigned i = 0; i < scaled(3000); i++) {
		pthread_t thread = thread_start(cancelled_at_once, (void *)(uintptr_t)(i + 1));

		pthread_cancel(thread);
		thread_join(thread);
	}
	small_life((void *)1);
}

static void *brief(void *arg)
{
	void *p[64];

	for (size_t i = 0; i < 64; i++) {
		p[i] = malloc(16 + i * i * 4);
		memset(p[i], 1, 16 + i * i * 4);
	}
	for (size_t i = 0; i < 64; i++)
		free(p[i]);
	return arg;
}

/* 2,000 short threads left 176 MB behind in a predecessor. */
static void churn(void)
{
	long before;

	for (int i = 0; i < 200; i++)
		thread_join(thread_start(brief, NULL));
	before = rss_kib();
	for (unsigned i = 0; i < scaled(2000); i++)
		thread_join(thread_start(brief, NULL));
	CHECK(rss_kib() < before + 4096);
}

static const struct test_case cases[] = {
	{"ten_thousand", ten_thousand},
	{"minimum_stacks", minimum_stacks},
	{"small_stacks", small_stacks},
	{"cancelled", cancelled},
	{"cancelled_asynchronously", cancelled_asynchronously},
	{"churn", churn},
};

int main(int argc, char **argv)
{
	return RUN_CASE(argc, argv, cases);
}
