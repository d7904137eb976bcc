/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * locality [OPTION]... SCENARIO...: which share of the pages lies on the node of the CPU that allocated them.
 *
 *     direct          threads tied to their CPUs touch what they allocate
 *     firsttouch      what they allocate is first touched by threads of other nodes
 *     migrations N    threads that move to another CPU before each of N allocations
 *     producer N      N objects made on one node and freed on another, for all pairs of nodes
 *     pool N          threads that hand each other N objects each, which the receiver writes and frees
 *     recycle N       N generations: each CPU allocates its share, and half of it is freed from another node
 *     successors N    the same, with new threads in each generation
 *
 *     --require SMALL LARGE   end with status 1 where the share, in per cent, is lower
 *     --per-cpu MIB           memory that a CPU allocates (default 24)
 *     --nodes LIST            memory is to come from these nodes only
 *     --small                 what goes from thread to thread is up to 32 KiB only
 *     --resident MIB          end with status 1 where the process was ever larger
 *     --explain N             write about up to N pages that lie elsewhere
 *     --seed N
 *
 * Each scenario writes scenario,small_pages,small_local,large_pages,large_local; recycle and successors one such line
 * for each generation and then one with all of the last. Small are objects up to 256 KiB. Where a node has no memory, the
 * nearest that has some is right. Every page of every object is looked at, and contents are verified.
 */
#include "box.h"
#include "team.h"

static double least_small = -1, least_large = -1;
static long most_resident; /* KiB; 0: any */
static bool small_only;
static size_t per_cpu = 24 * MIB;

/* ---- verdicts ---------------------------------------------------------------------------------- */

static double percent(uint64_t part, uint64_t whole)
{
	return whole != 0 ? 100.0 * (double)part / (double)whole : 100.0;
}

/* 99.996 % is not 100 %, whatever it is rounded to. */
static bool is_enough(uint64_t local, uint64_t pages, double least)
{
	return pages > 0 && (double)local * 100.0 >= least * (double)pages;
}

static void judge(const char *scenario, const struct share *share)
{
	if (least_small >= 0 && !is_enough(share->small_local, share->small_pages, least_small))
		wrong("%s: %.3f %% of %lu pages of small objects lie on their node, wanted %g %%", scenario,
		      percent(share->small_local, share->small_pages), share->small_pages, least_small);
	if (least_large >= 0 && !is_enough(share->large_local, share->large_pages, least_large))
		wrong("%s: %.3f %% of %lu pages of large objects lie on their node, wanted %g %%", scenario,
		      percent(share->large_local, share->large_pages), share->large_pages, least_large);
}

static void report(const char *scenario, const struct share *share)
{
	tell("%s,%lu,%lu,%lu,%lu\n", scenario, share->small_pages, share->small_local, share->large_pages,
	     share->large_local);
	judge(scenario, share);
}

static size_t moving_size(uint64_t *random)
{
	return small_only ? small_size(random) : mixed_size(random);
}

static size_t most_objects(void)
{
	return per_cpu / KIB + 1000;
}

/* ---- direct, firsttouch -------------------------------------------------------------------------- */

enum { ROUNDS = 2 };

static void direct_body(struct worker *w)
{
	for (int round = 0; round < ROUNDS; round++) {
		worker_add_share(w, per_cpu, round, true);
		objects_where(w->objects, w->count, &w->share);
		worker_drop(w);
	}
}

static void direct(const char *name, unsigned long n)
{
	struct share share = team_run(direct_body, most_objects());

	(void)n;
	report(name, &share);
}

static void firsttouch_body(struct worker *w)
{
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct worker *other = partner(w, round * 2);

		worker_add_share(w, per_cpu, (int)round, false);
		team_meet();
		for (size_t i = 0; i < other->count; i++)
			object_fill(&other->objects[i], random_next(&w->random));
		team_meet();
		objects_where(w->objects, w->count, &w->share);
		worker_drop(w);
		team_meet();
	}
}

static void firsttouch(const char *name, unsigned long n)
{
	struct share share = team_run(firsttouch_body, most_objects());

	(void)n;
	report(name, &share);
}

/* ---- recycle, successors ------------------------------------------------------------------------- */

/* Those of dead threads are taken over by the next on the same CPU. */
static struct worker estates[LAB_CPUS];
static unsigned generation;

static void inherit_body(struct worker *w)
{
	struct worker *estate = &estates[w->index];

	estate->cpu = w->cpu;
	worker_add_share(estate, per_cpu, (int)generation, true);
	team_meet();
	objects_where(estate->objects, estate->count, &w->share);
	team_meet();
	worker_drop_half(&estates[partner(w, generation)->index], &w->random);
}

static void open_estates(void)
{
	for (int i = 0; i < machine.cpus; i++) {
		estates[i] = (struct worker){.random = team.seed + (uint64_t)i + 1, .most = most_objects()};
		estates[i].objects = map_memory(estates[i].most * sizeof(struct object));
	}
}

static void close_estates(void)
{
	for (int i = 0; i < machine.cpus; i++) {
		worker_drop(&estates[i]);
		munmap(estates[i].objects, estates[i].most * sizeof(struct object));
	}
}

static void report_generation(const char *scenario, const struct share *share)
{
	char name[40];

	snprintf(name, sizeof(name), "%s-%u", scenario, generation + 1);
	report(name, share);
}

static void successors(const char *name, unsigned long n)
{
	struct share share = {0};

	open_estates();
	for (generation = 0; generation < (n != 0 ? n : 12); generation++) {
		share = team_run(inherit_body, 1);
		report_generation(name, &share);
	}
	report(name, &share);
	close_estates();
}

static unsigned generations;

/* The first of them tells what all have found. */
static void tell_generation(struct worker *w)
{
	struct share sum = {0};

	team_meet();
	if (w->index == 0) {
		for (int i = 0; i < team.count; i++)
			share_add(&sum, &team.workers[i].share);
		report_generation("recycle", &sum);
		generation++;
	}
	team_meet();
}

static void recycle_body(struct worker *w)
{
	for (unsigned g = 0; g < generations; g++) {
		worker_add_share(w, per_cpu, (int)g, true);
		team_meet();
		w->share = (struct share){0};
		objects_where(w->objects, w->count, &w->share);
		tell_generation(w);
		worker_drop_half(partner(w, g), &w->random);
		team_meet();
	}
	worker_drop(w);
}

static void recycle(const char *name, unsigned long n)
{
	struct share share;

	generations = n != 0 ? (unsigned)n : 12;
	generation = 0;
	share = team_run(recycle_body, most_objects());
	report(name, &share);
}

/* ---- migrations ---------------------------------------------------------------------------------- */

enum { MOVERS = 2, LIVE = 300 };

static unsigned long moves_each;

static void *mover_main(void *arg)
{
	struct worker *w = arg;

	for (unsigned long i = 0; i < moves_each; i++) {
		struct object *o = &w->objects[random_below(&w->random, LIVE)];
		int cpu = machine.cpu[random_below(&w->random, (uint64_t)machine.cpus)];

		pin(cpu);
		if (o->ptr != NULL)
			object_drop(o);
		object_take(o, moving_size(&w->random), cpu);
		object_fill(o, random_next(&w->random));
		objects_where(o, 1, &w->share);
	}
	for (unsigned i = 0; i < LIVE; i++) {
		if (w->objects[i].ptr != NULL)
			object_drop(&w->objects[i]);
	}
	return NULL;
}

static void migrations(const char *name, unsigned long n)
{
	struct worker movers[MOVERS] = {{.index = 0}};
	struct share sum = {0};

	moves_each = (n != 0 ? n : 5000) / MOVERS;
	for (unsigned i = 0; i < MOVERS; i++) {
		movers[i].random = team.seed * 31 + i + 7;
		movers[i].objects = map_memory(LIVE * sizeof(struct object));
		movers[i].thread = thread_start(mover_main, &movers[i]);
	}
	for (unsigned i = 0; i < MOVERS; i++) {
		thread_join(movers[i].thread);
		share_add(&sum, &movers[i].share);
		munmap(movers[i].objects, LIVE * sizeof(struct object));
	}
	report(name, &sum);
}

/* ---- producer ------------------------------------------------------------------------------------ */

static unsigned long objects_each;

static void *produce(void *arg)
{
	struct worker *w = arg;

	pin(w->cpu);
	for (unsigned long i = 0; i < objects_each; i++) {
		struct object o;

		object_take(&o, moving_size(&w->random), w->cpu);
		object_fill(&o, random_next(&w->random));
		objects_where(&o, 1, &w->share);
		while (!box_put(&boxes[0], &o))
			sched_yield();
	}
	return NULL;
}

static void *consume(void *arg)
{
	struct worker *w = arg;

	pin(w->cpu);
	while (w->count < objects_each) {
		struct object o;

		if (!box_get(&boxes[0], &o)) {
			sched_yield();
			continue;
		}
		object_drop(&o);
		w->count++;
	}
	return NULL;
}

static void producer_pair(int from, int to, struct share *sum)
{
	struct worker maker = {.cpu = from, .random = team.seed + (uint64_t)from * 100 + (uint64_t)to};
	struct worker taker = {.cpu = to};

	taker.thread = thread_start(consume, &taker);
	maker.thread = thread_start(produce, &maker);
	thread_join(maker.thread);
	thread_join(taker.thread);
	share_add(sum, &maker.share);
}

static void producer(const char *name, unsigned long n)
{
	struct share sum = {0};
	bool any = false;

	objects_each = n != 0 ? n : 400;
	open_boxes();
	for (int from = 0; from < machine.nodes; from++) {
		for (int to = 0; to < machine.nodes; to++) {
			if (from != to && cpu_of_node(from) >= 0 && cpu_of_node(to) >= 0) {
				producer_pair(cpu_of_node(from), cpu_of_node(to), &sum);
				any = true;
			}
		}
	}
	if (!any)
		producer_pair(machine.cpu[0], machine.cpu[machine.cpus - 1], &sum);
	report(name, &sum);
}

/* ---- pool ---------------------------------------------------------------------------------------- */

/* Half of the objects come untouched. */
static void pool_receive(struct worker *w, struct object *o)
{
	if (o->key != 0)
		object_verify(o);
	object_fill(o, random_next(&w->random) | 1);
	objects_where(o, 1, &w->share);
	object_drop(o);
}

static void pool_body(struct worker *w)
{
	struct object o;

	team_meet();
	for (unsigned long i = 0; i < objects_each; i++) {
		object_take(&o, moving_size(&w->random), w->cpu);
		if (i % 2 == 0)
			object_fill(&o, random_next(&w->random) | 1);
		while (!box_put(&boxes[random_below(&w->random, (uint64_t)team.count)], &o)) {
			struct object other;

			if (box_get(&boxes[w->index], &other))
				pool_receive(w, &other);
		}
		if (box_get(&boxes[w->index], &o))
			pool_receive(w, &o);
	}
	team_meet();
	while (box_get(&boxes[w->index], &o))
		pool_receive(w, &o);
}

static void pool(const char *name, unsigned long n)
{
	struct share share;

	objects_each = n != 0 ? n : 800;
	open_boxes();
	share = team_run(pool_body, 1);
	report(name, &share);
}

/* ---- the command line ---------------------------------------------------------------------------- */

static const struct {
	const char *name;
	void (*run)(const char *name, unsigned long n);
} scenarios[] = {
	{"direct", direct}, {"firsttouch", firsttouch}, {"migrations", migrations}, {"producer", producer},
	{"pool", pool},	    {"recycle", recycle},	{"successors", successors},
};

enum { SCENARIOS = sizeof(scenarios) / sizeof(scenarios[0]) };

static void usage(void)
{
	say(2, "usage: locality [--require SMALL LARGE] [--per-cpu MIB] [--nodes LIST] [--small] [--resident MIB]\n"
	       "                [--explain N] [--seed N] direct|firsttouch|migrations N|producer N|pool N|recycle "
	       "N|successors N...\n");
	exit(2);
}

static const char *option_value(char ***at)
{
	if ((*at)[1] == NULL)
		usage();
	return *++*at;
}

/* Returns false when the word is no option. */
static bool take_option(char ***at)
{
	const char *word = **at;

	if (strcmp(word, "--require") == 0) {
		least_small = atof(option_value(at));
		least_large = atof(option_value(at));
	} else if (strcmp(word, "--per-cpu") == 0) {
		per_cpu = strtoul(option_value(at), NULL, 10) * MIB;
	} else if (strcmp(word, "--nodes") == 0) {
		lab_name_nodes(option_value(at));
	} else if (strcmp(word, "--small") == 0) {
		small_only = true;
	} else if (strcmp(word, "--resident") == 0) {
		most_resident = atol(option_value(at)) * 1024;
	} else if (strcmp(word, "--explain") == 0) {
		explain_left = (unsigned)strtoul(option_value(at), NULL, 10);
	} else if (strcmp(word, "--seed") == 0) {
		team.seed = strtoul(option_value(at), NULL, 10);
	} else {
		return false;
	}
	return true;
}

static void run_scenario(char ***at)
{
	const char *word = **at;
	unsigned long n = 0;

	if ((*at)[1] != NULL && isdigit((unsigned char)(*at)[1][0]))
		n = strtoul(*++*at, NULL, 10);
	for (unsigned i = 0; i < SCENARIOS; i++) {
		if (strcmp(scenarios[i].name, word) == 0) {
			scenarios[i].run(word, n);
			return;
		}
	}
	usage();
}

int main(int argc, char **argv)
{
	if (argc < 2)
		usage();
	machine_read();
	for (char **at = argv + 1; *at != NULL; at++) {
		if (!take_option(&at))
			run_scenario(&at);
	}
	if (most_resident > 0 && status_kib("VmHWM:") > most_resident)
		wrong("the process grew to %ld KiB, wanted at most %ld", status_kib("VmHWM:"), most_resident);
	return lab_status;
}
