/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Forks while other threads are under the locks of the heap and while CPUs are drained: each child finds a heap
 * whose lists are right, tables that it can use, and memory; nothing that a parent's thread had is handed out.
 */
#include <signal.h>
#include <sys/wait.h>

#include "heap_check.h"
#include "malloc/malloc.h"
#include "os/os.h"
#include "stress.h"

enum { BATCH = 40 };

static unsigned long children;

static void large_block(size_t size)
{
	bool zeroed = false;
	void *block = near__large_alloc(size, 16, 0, &zeroed);
	uint32_t index = block ? near__pagemap_span((uintptr_t)block) : 0;

	if (!block || !near__large_free(pool_record(&near__spans, index), index))
		die("a large block was lost");
}

/* Straight at the heap, so that its locks are nearly always held by somebody. */
static void hammer_heap(void)
{
	void *objects[BATCH];
	uint64_t random = crew_self;

	while (!crew_stop) {
		unsigned class = next_random(&random) % 2 ? class_of(64) : class_of(16384);
		unsigned got = near__span_take(0, class, objects + BATCH - 1, BATCH);

		if (got && !near__span_give(bin_of(0, class), objects + BATCH - got, got, "free"))
			die("refused without a reason");
		large_block(4096 + next_random(&random) % (300 * KIB));
		if (next_random(&random) % 64 == 0)
			large_block(RUN_LARGEST + 1);
		if (next_random(&random) % 64 == 0)
			near__drain_all();
	}
}

static void work(void)
{
	if (crew_self <= 2)
		objects_work();
	else
		hammer_heap();
}

static void nothing(void)
{
}

/* ---- the child ------------------------------------------------------------------------------------ */

static void expect_tables(void)
{
	if (near__drain_lock.word)
		die("child: the drain lock is nobody's and held");
	for (unsigned cpu = 0; cpu < near__cpus; cpu++) {
		const struct cpu_table *table = near__table[cpu];

		if (table && near__mode == NEAR_MODE_RSEQ && CPU_BASE[cpu] != table->bins)
			die("child: a CPU is left without its table");
		if (table && table->lock.word)
			die("child: a table's lock is nobody's and held");
	}
}

static void expect_heap(void)
{
	const char *wrong = heap_wrong(0, false);

	if (wrong)
		die(wrong);
	expect_sound();
}

static void child(void)
{
	struct object held[300];
	uint64_t random = (uint64_t)getpid();

	alarm(5); /* ends a child that waits for ever */
	signal(SIGUSR1, SIG_IGN);
	expect_tables();
	expect_heap();
	for (unsigned i = 0; i < ARRAY_LEN(held); i++)
		held[i] = object_take(7777, &random);
	for (unsigned i = 0; i < ARRAY_LEN(held); i++)
		object_give(held[i], 7777);
	large_block(100 * KIB);
	large_block(2 * MIB);
	near__drain_all();
	expect_heap();
	_exit(0);
}

static void fork_one(void)
{
	pid_t pid = fork();
	int status;

	if (!pid)
		child();
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		die("no child");
	if (WIFSIGNALED(status))
		die(WTERMSIG(status) == SIGALRM ? "a child hangs" : "a child was killed");
	if (status)
		die("a child failed");
	children++;
}

void run_forks(unsigned seconds)
{
	near__percpu_budget = 256 * KIB;
	crew_run(seconds, work, nothing, fork_one);
	expect_sound();
	printf("%lu children\n", children);
}
