/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* A thread on each CPU, tied to it, with objects of its own. */
#ifndef NEAR_TEST_LAB_TEAM_H
#define NEAR_TEST_LAB_TEAM_H

#include "objects.h"
#include "threads.h"

struct worker {
	pthread_t thread;
	void (*body)(struct worker *);
	int index, cpu, node;
	uint64_t random;
	struct object *objects;
	size_t count, most;
	size_t bytes; /* in its objects */
	struct share share;
};

struct team {
	struct worker workers[LAB_CPUS];
	int count;
	pthread_barrier_t barrier;
	uint64_t seed;
};

static struct team team;

static inline void *worker_main(void *arg)
{
	struct worker *w = arg;

	pin(w->cpu);
	w->body(w);
	return NULL;
}

static inline void team_meet(void)
{
	pthread_barrier_wait(&team.barrier);
}

/* Runs the body on all CPUs, each worker with room for `most` objects. Returns the sum of their shares. */
static inline struct share team_run(void (*body)(struct worker *), size_t most)
{
	struct share sum = {0};

	memset(team.workers, 0, sizeof(team.workers));
	team.count = machine.cpus;
	CHECK(pthread_barrier_init(&team.barrier, NULL, (unsigned)team.count) == 0);
	for (int i = 0; i < team.count; i++) {
		struct worker *w = &team.workers[i];

		w->body = body;
		w->index = i;
		w->cpu = machine.cpu[i];
		w->node = machine.node_of[w->cpu];
		w->random = team.seed * 1000003 + (uint64_t)i + 1;
		w->most = most;
		w->objects = map_memory(most * sizeof(w->objects[0]));
	}
	for (int i = 0; i < team.count; i++)
		team.workers[i].thread = thread_start(worker_main, &team.workers[i]);
	for (int i = 0; i < team.count; i++)
		thread_join(team.workers[i].thread);
	for (int i = 0; i < team.count; i++) {
		share_add(&sum, &team.workers[i].share);
		munmap(team.workers[i].objects, most * sizeof(struct object));
	}
	pthread_barrier_destroy(&team.barrier);
	return sum;
}

/* How many workers have one of another node that many places further. */
static inline int strangers_at(int step)
{
	int n = 0;

	for (int i = 0; i < team.count; i++)
		n += team.workers[i].node != team.workers[(i + step) % team.count].node;
	return n;
}

/*
 * The worker that this one deals with in a turn, and nobody else does: of another node, as far as nodes have as many
 * CPUs as the others. Itself where there is but one.
 */
static inline struct worker *partner(const struct worker *w, unsigned turn)
{
	int best = 0, good = 0, step;

	for (step = 1; step < team.count; step++) {
		int n = strangers_at(step);

		good = n > best ? 1 : good + (n == best);
		best = n > best ? n : best;
	}
	if (good == 0)
		return &team.workers[w->index];
	turn %= (unsigned)good;
	for (step = 1; strangers_at(step) < best || turn-- > 0; step++)
		continue;
	return &team.workers[(w->index + step) % team.count];
}

/* ---- a worker's objects ------------------------------------------------------------------------ */

/* Room for its objects is never full before its bytes are: the mean of small sizes is about 4 KiB. */
static inline bool worker_add(struct worker *w, size_t size, int generation, bool fill)
{
	struct object *o = &w->objects[w->count];

	if (w->count == w->most)
		return false;
	object_take(o, size, w->cpu);
	o->generation = (uint16_t)generation;
	if (fill)
		object_fill(o, random_next(&w->random));
	w->count++;
	w->bytes += size;
	return true;
}

/* Each third of the memory in objects of one kind, to the extent that it is not there already. */
static inline void worker_add_share(struct worker *w, size_t per_cpu, int generation, bool fill)
{
	size_t small = 0, middle = 0, large = 0;

	for (size_t i = 0; i < w->count; i++) {
		size_t size = w->objects[i].size;

		*(size <= 32 * KIB ? &small : size <= MIB ? &middle : &large) += size;
	}
	for (size_t size; small < per_cpu / 3; small += size) {
		size = small_size(&w->random);
		if (!worker_add(w, size, generation, fill))
			break;
	}
	for (size_t size; middle < per_cpu / 3; middle += size) {
		size = middle_size(&w->random);
		if (!worker_add(w, size, generation, fill))
			break;
	}
	for (size_t size; large + 2 * MIB <= per_cpu / 3; large += size) {
		size = large_size(&w->random);
		if (size > per_cpu / 3 - large)
			size = per_cpu / 3 - large;
		if (!worker_add(w, size, generation, fill))
			break;
	}
}

static inline void worker_drop(struct worker *w)
{
	for (size_t i = 0; i < w->count; i++)
		object_drop(&w->objects[i]);
	w->count = w->bytes = 0;
}

/* Half of them, at random. */
static inline void worker_drop_half(struct worker *owner, uint64_t *random)
{
	size_t kept = 0;

	for (size_t i = 0; i < owner->count; i++) {
		if (random_below(random, 2) == 0)
			object_drop(&owner->objects[i]);
		else
			owner->objects[kept++] = owner->objects[i];
	}
	owner->count = kept;
}

#endif
