/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * How many operations on shared memory a pair of malloc and free costs, by the number of CPUs.
 *
 *   scale WORKLOAD CPUS NODES PAIRS WORK [one-slot | one-table | sites]
 *
 * Prints a line of figures per pair, and fails when one is above its bound (doc/scaling.md). PAIRS per CPU count, after
 * as many that do not; WORK cycles a pair are the program's own. one-slot and one-table break the design on purpose:
 * magazines of one pointer, one table for all CPUs. sites adds whose lines moved.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "keep/keep.h"
#include "keep/limits.h"
#include "malloc/malloc.h"
#include "os/os.h"
#include "sim.h"
#include "sites.h"

const char *near_conf = "rseq:off,numa:off,percpu_cache:8m";
bool sim_one_table;

enum {
	CALL_CYCLES = 10,   /* what a call takes beside its accesses */
	IDLE_CYCLES = 2000, /* between two looks at a ring that is empty or full */
	SIZE = 64,
	LIVE = 1000,  /* objects of a CPU in churn and exchange */
	BURST = 2000, /* in waves: far more than two magazines */
	RING = 1024,  /* between a producer and its consumer */
};

static unsigned cpus;
static unsigned work_cycles;
static uint64_t pairs, warm, enough;

/* ---- what the workloads are made of ---------------------------------------------------------------- */

static uint64_t random_of[SIM_MOST_CPUS];

static unsigned below(unsigned cpu, unsigned bound)
{
	uint64_t x = random_of[cpu];

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	random_of[cpu] = x;
	return (unsigned)((x * 0x2545f4914f6cdd1du >> 33) % bound);
}

static bool over(void)
{
	return pairs >= enough;
}

static void *take(unsigned cpu, size_t size)
{
	sim_spend(CALL_CYCLES + below(cpu, work_cycles + 4));
	return near__malloc_slow(size);
}

static void give(unsigned cpu, void *object)
{
	sim_spend(CALL_CYCLES + below(cpu, work_cycles + 4));
	near__free_slow(object, "free");
}

static void count_pair(void)
{
	if (++pairs == warm)
		sim_count_from_here();
}

/* ---- the workloads --------------------------------------------------------------------------------- */

static void *live[SIM_MOST_CPUS][BURST];

static size_t mixed(unsigned cpu)
{
	return 16 + below(cpu, 240);
}

/* Each CPU replaces one of its own. */
static void churn(unsigned cpu)
{
	while (!over()) {
		void **object = &live[cpu][below(cpu, LIVE)];

		give(cpu, *object);
		*object = take(cpu, mixed(cpu));
		count_pair();
	}
}

/* Each CPU takes many, then gives them back, over and over. */
static void waves(unsigned cpu)
{
	while (!over()) {
		for (unsigned i = 0; i < BURST; i++)
			live[cpu][i] = take(cpu, SIZE);
		for (unsigned i = 0; i < BURST; i++) {
			give(cpu, live[cpu][i]);
			count_pair();
		}
	}
}

/* Server threads that replace one of anybody's, after Larson; of two sizes, so that all bins are in use after the warm-up. */
static void exchange(unsigned cpu)
{
	while (!over()) {
		void **object = &live[below(cpu, cpus)][below(cpu, LIVE)];
		void *mine = take(cpu, below(cpu, 2) ? SIZE : 3 * SIZE), *old = *object;

		*object = mine;
		give(cpu, old);
		count_pair();
	}
}

/* Nothing is given back. */
static void growth(unsigned cpu)
{
	while (!over()) {
		take(cpu, SIZE);
		count_pair();
	}
}

static struct ring {
	void *object[RING];
	uint64_t in, out;
} rings[SIM_MOST_CPUS];

static void put(unsigned cpu, struct ring *ring)
{
	if (ring->in - ring->out == RING) {
		sim_spend(IDLE_CYCLES);
		return;
	}
	ring->object[ring->in % RING] = take(cpu, SIZE);
	ring->in++; /* not before: others run while it is taken */
}

static void get(unsigned cpu, struct ring *ring)
{
	if (ring->in == ring->out) {
		sim_spend(IDLE_CYCLES);
		return;
	}
	give(cpu, ring->object[ring->out++ % RING]);
	count_pair();
}

/* Even CPUs take, odd ones give back. */
static void partners(unsigned cpu)
{
	while (!over()) {
		if (cpu % 2)
			get(cpu, &rings[cpu - 1]);
		else
			put(cpu, &rings[cpu]);
	}
}

/* CPU 0 takes, all others give back. */
static void fan(unsigned cpu)
{
	unsigned next = 1;

	while (!over()) {
		if (cpu) {
			get(cpu, &rings[cpu]);
			continue;
		}
		put(cpu, &rings[next]);
		next = next % (cpus - 1) + 1;
	}
}

static const struct workload {
	const char *name;
	void (*work)(unsigned cpu);
	double per_magazine; /* operations: 6 to fill one from spans, 10 for a trip through the depot, 11 for both */
} workloads[] = {
	{"churn", churn, 11}, {"waves", waves, 10},	  {"partners", partners, 10},
	{"fan", fan, 10},     {"exchange", exchange, 11}, {"growth", growth, 6},
};

/* ---- the verdict ----------------------------------------------------------------------------------- */

static double capacity, span_objects;
static unsigned nodes;

/* The program does something with what it asks for, and a node has no more CPUs than are usual. */
static bool is_normal_load(void)
{
	return work_cycles >= 1000 && cpus / nodes <= 128;
}

static bool within(const char *what, double value, double bound)
{
	if (value > bound)
		printf("  %s: %.4f per pair, the bound is %.4f\n", what, value, bound);
	return value <= bound;
}

static bool judge(const struct workload *workload, double n)
{
	double done = sim_counts.atomics - sim_counts.cas_failed;
	double again = sim_counts.cas_failed - sim_counts.lock_waits; /* a wait begins with a CAS that fails */
	bool good = within("operations", done / n, workload->per_magazine / capacity + 7 / span_objects);

	good &= within("locks", sim_counts.locks / n, 2 / capacity + 3 / span_objects);
	/* The page map is another matter: each CPU reads once what was written there for a span. */
	good &= within("lines", (sim_counts.transfers - sites_page_map() - 4 * (again + sim_counts.lock_waits)) / n,
		       0.25 + 20 / capacity + 6 / span_objects);
	/* How often a CAS is tried again depends on the load. */
	return (!is_normal_load() || within("tried again", again / n, 1 / capacity)) && good;
}

/* ---- the machine ----------------------------------------------------------------------------------- */

static bool node_has_memory(int node)
{
	return (unsigned)node < nodes;
}

static int node_of_cpu(int cpu)
{
	return (int)((unsigned)cpu % cpus * nodes / cpus);
}

static int distance(int from, int to)
{
	return from == to ? 10 : 20;
}

/* As at the end of start-up, on a machine that has them. */
static void start_nodes(void)
{
	const struct os_machine machine = {.nodes = nodes,
					   .cpus = SIM_MOST_CPUS,
					   .has_memory = node_has_memory,
					   .node_of_cpu = node_of_cpu,
					   .distance = distance};
	bool good = near__numa_arrange(&machine, NULL);

	for (unsigned node = 0; node < nodes && good; node++)
		good = near__heap_start(node);
	near__nodes = nodes;
	if (!good || !near__cache_start()) {
		fputs("no such machine\n", stderr);
		exit(2);
	}
}

static const struct workload *workload_named(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(workloads); i++) {
		if (!strcmp(workloads[i].name, name))
			return &workloads[i];
	}
	return NULL;
}

int main(int argc, char **argv)
{
	const struct workload *workload = argc > 5 ? workload_named(argv[1]) : NULL;
	const char *option = argc > 6 ? argv[6] : "";
	double n;

	cpus = argc > 5 ? (unsigned)atoi(argv[2]) : 0;
	nodes = argc > 5 ? (unsigned)atoi(argv[3]) : 0;
	if (!workload || cpus < 2 || cpus > SIM_MOST_CPUS || !nodes || near__mode != NEAR_MODE_LOCKED) {
		fputs("usage: scale WORKLOAD CPUS NODES PAIRS WORK [one-slot | one-table | sites]\n", stderr);
		return 2;
	}
	warm = (uint64_t)atoi(argv[4]) * cpus;
	enough = warm * 2;
	work_cycles = (unsigned)atoi(argv[5]);
	if (nodes > 1)
		start_nodes();
	near__limits_derive();
	near__janitor_start();
	capacity = near__class[class_of(SIZE)].capacity;
	span_objects = near__class[class_of(SIZE)].objects;
	sim_one_table = !strcmp(option, "one-table");
	for (unsigned class = 1; class <= CLASSES && !strcmp(option, "one-slot"); class ++)
		near__class[class].capacity = 1;
	for (unsigned i = 0; i < cpus; i++)
		random_of[i] = 88172645463325252u + i * 0x9e3779b97f4a7c15u;

	sim_run(cpus, workload->work);

	n = (double)(pairs - warm);
	printf("%-9s %4u %4u %9.4f %9.4f %9.4f %9.4f %9.4f %9.1f\n", workload->name, cpus, nodes,
	       (sim_counts.atomics - sim_counts.cas_failed) / n, sim_counts.cas_failed / n, sim_counts.locks / n,
	       sim_counts.lock_waits / n, sim_counts.transfers / n, (double)sim_counts.cycles * cpus / n);
	sites_collect();
	if (!strcmp(option, "sites"))
		sites_print(n);
	return !judge(workload, n);
}
