/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* base/lock, os/futex: the word, refusal of oneself, exclusion, sleepers, orphans. */
#include "base/lock.h"

#include <pthread.h>
#include <time.h>

#include "unit.h"

static struct lock lock;

Test(lock, the_word_names_the_owner)
{
	cr_assert_eq(lock_self() & 3, 2, "never 0 and never with the sleepers' bit");
	cr_assert_eq(lock_self() >> 2, (uint32_t)(thread_pointer() >> 11) & ~0u >> 2);
	cr_assert_not(lock_is_mine(&lock));
	cr_assert(lock_acquire(&lock));
	cr_assert_eq(lock.word, lock_self());
	cr_assert(lock_is_mine(&lock));
	lock.word |= LOCK_SLEEPERS;
	cr_assert(lock_is_mine(&lock));
	lock_release(&lock);
	cr_assert_eq(lock.word, 0);
}

Test(lock, oneself_is_refused, .timeout = 10)
{
	cr_assert(lock_acquire(&lock));
	cr_assert_not(lock_acquire(&lock));
	cr_assert_not(lock_try(&lock));
	lock.word |= LOCK_SLEEPERS;
	cr_assert_not(lock_acquire(&lock));
	lock_release(&lock);
	cr_assert(lock_try(&lock));
	lock_release(&lock);
}

static void *try_it(void *result)
{
	*(bool *)result = lock_try(&lock);
	return NULL;
}

Test(lock, another_s_is_not_waited_for_by_try)
{
	bool got = true;
	pthread_t thread;

	cr_assert(lock_acquire(&lock));
	cr_assert_eq(pthread_create(&thread, NULL, try_it, &got), 0);
	pthread_join(thread, NULL);
	cr_assert_not(got);
	cr_assert(lock_is_mine(&lock));
	lock_release(&lock);
}

Test(lock, orphans_are_freed_and_no_others)
{
	cr_assert_not(lock_inherit(&lock), "free");
	lock.word = STRANGER;
	cr_assert(lock_inherit(&lock));
	cr_assert(lock_is_mine(&lock), "until what it guards is mended");
	lock_release(&lock);
	cr_assert_eq(lock.word, 0);
	lock.word = STRANGER | LOCK_SLEEPERS;
	cr_assert(lock_inherit(&lock));
	cr_assert_not(lock_inherit(&lock), "mine");
	cr_assert(lock_is_mine(&lock));
	lock_release(&lock);
}

/* ---- contention ----------------------------------------------------------------------------------- */

enum { THREADS = 8, ROUNDS = 4000 };

static unsigned counter, inside, together;

static void hold_for(unsigned round)
{
	struct timespec nap = {0, 50000};

	if (round % 16 == 0)
		sched_yield();
	if (round % 200 == 0)
		nanosleep(&nap, NULL); /* long enough for the others to fall asleep */
}

static void *contender(void *arg)
{
	for (unsigned round = 0; round < ROUNDS; round++) {
		if (!lock_acquire(&lock)) {
			fetch_add_relaxed(&together, 1u);
			continue;
		}
		if (fetch_add_relaxed(&inside, 1u))
			fetch_add_relaxed(&together, 1u);
		counter++; /* plain: the lock orders it */
		hold_for(round);
		fetch_sub_relaxed(&inside, 1u);
		lock_release(&lock);
	}
	return arg;
}

Test(lock, excludes_and_wakes_all_sleepers, .timeout = 60)
{
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, contender, NULL), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	cr_assert_eq(together, 0);
	cr_assert_eq(counter, THREADS * ROUNDS);
	cr_assert_eq(lock.word, 0);
}

static void *sleeper(void *arg)
{
	if (lock_acquire(&lock)) {
		fetch_add_relaxed(&counter, 1u);
		lock_release(&lock);
	}
	return arg;
}

Test(lock, sleepers_mark_the_word_and_are_woken, .timeout = 30)
{
	struct timespec nap = {0, 1000000};
	pthread_t threads[THREADS];

	cr_assert(lock_acquire(&lock));
	for (int i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, sleeper, NULL), 0);
	while (!(load_relaxed(&lock.word) & LOCK_SLEEPERS))
		nanosleep(&nap, NULL);
	nanosleep(&nap, NULL);
	cr_assert_eq(load_relaxed(&counter), 0);
	cr_assert(lock_is_mine(&lock));
	lock_release(&lock);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	cr_assert_eq(counter, THREADS);
}
