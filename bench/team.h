/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Threads that begin together, and the ways in which they hand objects to each other: a queue with a lock, for any
 * number of threads, and a ring without one, for one that sends and one that receives.
 */
#ifndef NEAR_BENCH_TEAM_H
#define NEAR_BENCH_TEAM_H

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "workload.h"

/* ---- team ----------------------------------------------------------------------------------------- */

struct member {
	unsigned number;
	uint64_t random;
	void (*work)(struct member *);
	pthread_t thread;
};

static sem_t team_ready;
static pthread_barrier_t team_gate;

static inline void thread_start(pthread_t *thread, void *(*entry)(void *), void *arg)
{
	if (pthread_create(thread, NULL, entry, arg))
		die("no more threads");
}

static inline uint64_t seed_of(unsigned number)
{
	return FIRST_SEED + (uint64_t)number * 0x9e3779b97f4a7c15;
}

static void *team_member(void *arg)
{
	struct member *member = arg;

	sem_post(&team_ready);
	pthread_barrier_wait(&team_gate);
	member->work(member);
	return NULL;
}

/* Returns when all have done their work. The clock starts when they begin. */
static inline void team_run(unsigned n, void (*work)(struct member *))
{
	struct member *members = table(n, sizeof(*members));

	sem_init(&team_ready, 0, 0);
	pthread_barrier_init(&team_gate, NULL, n + 1);
	for (unsigned i = 0; i < n; i++) {
		members[i] = (struct member){.number = i, .random = seed_of(i), .work = work};
		thread_start(&members[i].thread, team_member, &members[i]);
	}
	for (unsigned i = 0; i < n; i++)
		sem_wait(&team_ready);
	start();
	pthread_barrier_wait(&team_gate);
	for (unsigned i = 0; i < n; i++)
		pthread_join(members[i].thread, NULL);
}

/* ---- nodes ---------------------------------------------------------------------------------------- */

static inline bool read_cpulist(unsigned node, char *text, int room)
{
	char path[64];
	FILE *file;
	bool there;

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%u/cpulist", node);
	file = fopen(path, "re");
	there = file && fgets(text, room, file) && *text != '\n';
	if (file)
		fclose(file);
	return there;
}

/* This thread runs on the CPUs of the first node from now on, or on those of the last. */
static inline void stay_on_node(bool last)
{
	char text[4096];
	unsigned node = 0;
	cpu_set_t cpus;

	while (read_cpulist(node, text, sizeof(text)))
		node++;
	if (node < 2 || !read_cpulist(last ? node - 1 : 0, text, sizeof(text)))
		die("there are no two nodes with CPUs");
	CPU_ZERO(&cpus);
	for (char *at = text; *at && *at != '\n'; at += *at == ',') {
		unsigned long first = strtoul(at, &at, 10), end = *at == '-' ? strtoul(at + 1, &at, 10) : first;

		for (; first <= end; first++)
			CPU_SET(first, &cpus);
	}
	if (pthread_setaffinity_np(pthread_self(), sizeof(cpus), &cpus))
		die("may not choose the CPUs of a thread");
}

/* ---- queue ---------------------------------------------------------------------------------------- */

struct queue {
	pthread_mutex_t lock;
	pthread_cond_t filled, emptied;
	void **items;
	size_t first, count, room;
	size_t to_come; /* how many items will still be received */
};

static inline void queue_init(struct queue *queue, size_t room, size_t to_come)
{
	*queue = (struct queue){.items = table(room, sizeof(void *)), .room = room, .to_come = to_come};
	pthread_mutex_init(&queue->lock, NULL);
	pthread_cond_init(&queue->filled, NULL);
	pthread_cond_init(&queue->emptied, NULL);
}

static inline void queue_send(struct queue *queue, void *item)
{
	pthread_mutex_lock(&queue->lock);
	while (queue->count == queue->room)
		pthread_cond_wait(&queue->emptied, &queue->lock);
	queue->items[(queue->first + queue->count++) % queue->room] = item;
	pthread_cond_signal(&queue->filled);
	pthread_mutex_unlock(&queue->lock);
}

/* NULL: all that were to come have been received. */
static inline void *queue_receive(struct queue *queue)
{
	void *item = NULL;

	pthread_mutex_lock(&queue->lock);
	while (!queue->count && queue->to_come)
		pthread_cond_wait(&queue->filled, &queue->lock);
	if (queue->count) {
		item = queue->items[queue->first];
		queue->first = (queue->first + 1) % queue->room;
		queue->count--;
		pthread_cond_signal(&queue->emptied);
		if (!--queue->to_come)
			pthread_cond_broadcast(&queue->filled);
	}
	pthread_mutex_unlock(&queue->lock);
	return item;
}

/* ---- ring ----------------------------------------------------------------------------------------- */

struct ring {
	_Alignas(128) _Atomic size_t sent;     /* where the next item goes; the sender's */
	_Alignas(128) _Atomic size_t received; /* where the next one comes from; the receiver's */
	_Alignas(128) size_t places;
	void **items;
};

/* Room for one item less than there are places: a full ring is no empty one. */
static inline void ring_init(struct ring *ring, size_t room)
{
	ring->places = room + 1;
	ring->items = table(room + 1, sizeof(void *));
}

static inline size_t ring_after(const struct ring *ring, size_t place)
{
	return place + 1 == ring->places ? 0 : place + 1;
}

/* False: it is full. */
static inline bool ring_try_send(struct ring *ring, void *item)
{
	size_t place = atomic_load_explicit(&ring->sent, memory_order_relaxed), next = ring_after(ring, place);

	if (next == atomic_load_explicit(&ring->received, memory_order_acquire))
		return false;
	ring->items[place] = item;
	atomic_store_explicit(&ring->sent, next, memory_order_release);
	return true;
}

/* NULL: it is empty. */
static inline void *ring_try_receive(struct ring *ring)
{
	size_t place = atomic_load_explicit(&ring->received, memory_order_relaxed);
	void *item;

	if (place == atomic_load_explicit(&ring->sent, memory_order_acquire))
		return NULL;
	item = ring->items[place];
	atomic_store_explicit(&ring->received, ring_after(ring, place), memory_order_release);
	return item;
}

/* Waiting: there may be more threads than CPUs. */
static inline void ring_send(struct ring *ring, void *item)
{
	while (!ring_try_send(ring, item))
		sched_yield();
}

static inline void *ring_receive(struct ring *ring)
{
	void *item;

	while (!(item = ring_try_receive(ring)))
		sched_yield();
	return item;
}

#endif
