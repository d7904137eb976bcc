/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* cache/drain: tables emptied, given back, left alone when the fence is refused, and mended after fork. */
#include <pthread.h>
#include <sched.h>

#include "heap_check.h"
#include "keep/trim.h"
#include "malloc/malloc.h"
#include "refuse.h"
#include "unit.h"

static struct cpu_table *table;

static void fill_bins(void)
{
	static void *held[2000];

	table = unit_pinned_table();
	for (unsigned i = 0; i < ARRAY_LEN(held); i++)
		held[i] = near__malloc_slow(1 + i * 16);
	for (unsigned i = 0; i < ARRAY_LEN(held); i++)
		near__free_slow(held[i], "free");
	cr_assert_gt(table->charged, 0);
}

static bool is_empty(const struct cpu_table *t)
{
	for (unsigned bin = 1; bin < near__table_bins(); bin++) {
		if (t->bins[bin].cursor != NIL_CURSOR || t->bins[bin].spare != SPARE_NONE)
			return false;
	}
	return t->charged == 0;
}

static bool is_published(const struct cpu_table *t)
{
	return CPU_BASE[t->cpu] == t->bins && LOCAL_BASE[t->cpu] == &t->bins[t->node * CLASSES];
}

TEST_IN_BOTH_MODES(drain, empties_the_tables_and_gives_them_back)
{
	uint64_t drains;

	fill_bins();
	drains = near__drains;
	cr_assert_not(is_empty(table));
	cr_assert_gt(near__drain_all(), 0);
	cr_assert(is_empty(table));
	cr_assert(is_published(table));
	cr_assert_eq(table->bins[0].spare, SPARE_STUB);
	cr_assert_eq(near__drains, drains + 1);
	cr_assert_eq(near__drain_lock.word, 0);
	cr_assert_null(heap_wrong(0, true));
	unit_expect_sound();
	cr_assert_eq(near__drain_all(), 0);
	fill_bins(); /* and it can be used again */
}

/* Has the drain lock, as who makes a table, until somebody waits for it. */
static void *maker(void *taken)
{
	cr_assert(lock_acquire(&near__drain_lock));
	store_release((int *)taken, 1);
	while (!(load_relaxed(&near__drain_lock.word) & LOCK_SLEEPERS))
		sched_yield();
	lock_release(&near__drain_lock);
	return NULL;
}

TEST_IN_BOTH_MODES(drain, waits_for_a_table_that_is_made)
{
	pthread_t thread;
	int taken = 0;

	fill_bins();
	cr_assert_eq(pthread_create(&thread, NULL, maker, &taken), 0);
	while (!load_acquire(&taken))
		sched_yield();
	cr_assert_gt(near__drain_all(), 0);
	cr_assert(is_empty(table));
	pthread_join(thread, NULL);
}

/* A signal handler under first_table. */
TEST_IN_BOTH_MODES(drain, does_not_wait_for_itself)
{
	fill_bins();
	near__drain_lock.word = lock_self();
	cr_assert_eq(near__drain_all(), 0);
	cr_assert_not(is_empty(table));
	near__drain_lock.word = 0;
}

/* The same handler must not wait for who has the purge lock and waits for the drain lock. */
Test(drain, nor_does_a_trim_under_it)
{
	unit_mode(NEAR_MODE_RSEQ);
	near__drain_lock.word = lock_self();
	near__purge_lock.word = STRANGER;
	cr_assert_eq(near__trim(0), 0);
	cr_assert_not(near__trim_for(64));
	near__purge_lock.word = near__drain_lock.word = 0;
}

/* Tables are made under the same lock; without it there is none, and nothing waits. */
TEST_IN_BOTH_MODES(drain, no_table_is_made_meanwhile)
{
	void *object;

	near__drain_lock.word = STRANGER;
	cr_assert_null(near__cache_table());
	object = near__malloc_slow(64);
	cr_assert_not_null(object);
	near__free_slow(object, "free");
	near__drain_lock.word = 0;
	cr_assert_not_null(near__cache_table());
}

Test(drain, before_start_up_has_ended)
{
	near__mode = NEAR_MODE_EARLY;
	cr_assert_eq(near__drain_all(), 0);
}

Test(drain, a_refused_fence_leaves_the_table_untouched)
{
	size_t bytes = near__table_bins() * sizeof(struct bin);
	static struct bin before[OS_MAX_NODES * CLASSES + 1];

	unit_mode(NEAR_MODE_RSEQ);
	fill_bins();
	memcpy(before, table->bins, bytes);
	refuse_call(SYS_membarrier);
	cr_assert_eq(near__drain_all(), 0);
	cr_assert(!memcmp(before, table->bins, bytes));
	cr_assert(is_published(table));
	cr_assert_eq(near__drain_lock.word, 0);
}

/* A thread was draining when another forked. */
TEST_IN_BOTH_MODES(drain, the_child_of_a_fork_gets_its_tables_back)
{
	fill_bins();
	CPU_BASE[table->cpu] = LOCAL_BASE[table->cpu] = near__stub->bins;
	near__drain_lock.word = STRANGER;
	table->lock.word = STRANGER;
	near__cache_after_fork();
	cr_assert_eq(near__drain_lock.word, 0);
	cr_assert_eq(table->lock.word, 0);
	cr_assert(is_published(table));
	cr_assert_gt(near__drain_all(), 0);
	cr_assert(is_empty(table));
}
