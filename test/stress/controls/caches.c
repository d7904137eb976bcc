/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Bins, magazines, depots and drains together, on two nodes of which every other CPU belongs to one: workers and
 * their signal handlers allocate and free, migrate and exchange objects, while CPUs are drained and depots trimmed.
 * At the end every object is in its span and every magazine among the empty ones.
 */
#include "base/conf.h"
#include "heap/purge.h"
#include "heap_check.h"
#include "malloc/malloc.h"
#include "os/os.h"
#include "stress.h"
#include "watch/check.h"

static unsigned long drains;

static bool has_memory(int node)
{
	return node < 2;
}

static int node_of_cpu(int cpu)
{
	return cpu % 2;
}

static int distance(int from, int to)
{
	return from == to ? 10 : 20;
}

/* As a machine with two nodes would look; before anything is allocated. */
static void make_nodes(void)
{
	/* More CPUs than there may be: each node has some. */
	static const struct os_machine machine = {.nodes = 2,
						  .cpus = OS_MAX_CPUS,
						  .has_memory = has_memory,
						  .node_of_cpu = node_of_cpu,
						  .distance = distance};

	near__numa_arrange(&machine, NULL);
	near__topology.bound = false;
	if (!near__heap_start(0) || !near__heap_start(1))
		die("no memory");
	near__nodes = 2;
	near__conf.depot_cache = 2 * MIB;
	if (!near__cache_start())
		die("no memory");
	near__percpu_budget = 512 * KIB; /* so that capacities vary */
}

static void expect_stub(void)
{
	for (unsigned bin = 0; bin < near__table_bins(); bin++) {
		if (load_relaxed(&near__stub->bins[bin].cursor) != NIL_CURSOR ||
		    load_relaxed(&near__stub->bins[bin].spare) != SPARE_STUB)
			die("the stub was written");
	}
	for (unsigned i = 0; i < MAGAZINE_SLOTS; i++) {
		if (load_relaxed(&near__nil_magazine[i]))
			die("the nil magazine was written");
	}
}

static void *drainer(void *seed)
{
	uint64_t random = (uintptr_t)seed;

	while (!crew_stop) {
		if (near__drain_all())
			fetch_add_relaxed(&drains, 1ul);
		if (next_random(&random) % 2)
			near__drain_idle(1, &(bool){false});
		expect_stub();
		if (next_random(&random) % 16 == 0)
			near__depot_trim((unsigned)(next_random(&random) % 2));
		if (next_random(&random) % 16 == 0 && lock_try(&near__purge_lock)) {
			near__chunk_purge((unsigned)(next_random(&random) % 2), 0, SIZE_MAX, true);
			lock_release(&near__purge_lock);
		}
		if (next_random(&random) % 4 == 0)
			usleep(50);
	}
	return NULL;
}

/* ---- the account ---------------------------------------------------------------------------------- */

static void expect_empty_tables(void)
{
	for (unsigned cpu = 0; cpu < near__cpus; cpu++) {
		const struct cpu_table *table = near__table[cpu];

		for (unsigned bin = 1; table && bin < near__table_bins(); bin++) {
			if (table->bins[bin].cursor != NIL_CURSOR || table->bins[bin].spare)
				die("a drained table is not empty");
		}
		if (table && table->charged)
			die("a table without magazines is charged for some");
		if (table && near__mode == NEAR_MODE_RSEQ && CPU_BASE[cpu] != table->bins)
			die("a CPU is left without its table");
	}
}

static unsigned magazines_made(void)
{
	unsigned made = 0;

	for (uint32_t i = 1; i < near__pool_end(&near__magazines); i++)
		made += near__pool_peek(&near__magazines, i) != NULL;
	return made;
}

void expect_sound(void)
{
	int error;

	if (near__check(&error))
		_exit(1); /* it has said why */
}

void expect_all_objects(void)
{
	for (unsigned node = 0; node < near__nodes; node++) {
		const char *wrong = heap_wrong(node, !near__heap_lost);

		if (wrong)
			die(wrong);
		if (near__depot[node]->bytes)
			die("an empty depot counts bytes");
	}
	for (uint32_t i = 1; i < near__pool_end(&near__spans); i++) {
		const struct span *span = span_or_null(i);

		if (span && span->state == SPAN_OBJECTS && span->used)
			die("objects are lost");
		if (span && (span->state == SPAN_RUN || span->state == SPAN_MAPPED))
			die("a large block is lost");
	}
}

void run_adopting_caches(unsigned seconds)
{
	near__conf.remote_free = CONF_REMOTE_ADOPT;
	run_caches(seconds);
}

void run_caches(unsigned seconds)
{
	pthread_t drainers[2];

	make_nodes();
	for (uintptr_t i = 0; i < 2; i++)
		pthread_create(&drainers[i], NULL, drainer, (void *)(i + 1));
	crew_run(seconds, objects_work, objects_interrupt, NULL);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(drainers[i], NULL);
	expect_sound();
	near__drain_all();
	for (unsigned node = 0; node < near__nodes; node++)
		near__depot_trim(node);
	expect_stub();
	expect_empty_tables();
	expect_sound();
	expect_all_objects();
	printf("%lu drains, %u magazines, %lu given up\n", drains, magazines_made(), (unsigned long)near__heap_lost);
}
