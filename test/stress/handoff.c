/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * handoff PRODUCERS CONSUMERS: blocks allocated by one thread are verified and freed by another.
 *
 * The size of the process must stay flat: what producers need comes back from consumers.
 */
#include <sched.h>

#include "rest.h"
#include "shadow.h"
#include "threads.h"

enum { MOST = 8, RING = 4096 };

/* One lock-free ring for each pair of a producer and a consumer. */
struct ring {
	_Alignas(64) unsigned long head; /* written by the consumer */
	_Alignas(64) unsigned long tail; /* written by the producer */
	struct block slots[RING];
};

static struct ring *rings[MOST][MOST];
static unsigned producers = 1, consumers = 1;
static unsigned long each;

static bool ring_put(struct ring *ring, const struct block *b)
{
	if (ring->tail - __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE) == RING)
		return false;
	ring->slots[ring->tail % RING] = *b;
	__atomic_store_n(&ring->tail, ring->tail + 1, __ATOMIC_RELEASE);
	return true;
}

static bool ring_get(struct ring *ring, struct block *b)
{
	if (ring->head == __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE))
		return false;
	*b = ring->slots[ring->head % RING];
	__atomic_store_n(&ring->head, ring->head + 1, __ATOMIC_RELEASE);
	return true;
}

static void *produce(void *arg)
{
	uintptr_t me = (uintptr_t)arg;
	uint64_t random = me + 1;

	for (unsigned long i = 0; i < each; i++) {
		struct block b = {.size = random_size(&random, i % 4096 == 0 ? 2u << 20 : 3000)};
		struct ring *ring = rings[me][i % consumers];

		b.ptr = opaque(malloc(b.size));
		CHECK(b.ptr != NULL);
		block_fill(&b, random);
		while (!ring_put(ring, &b))
			sched_yield();
	}
	return NULL;
}

static void *consume(void *arg)
{
	uintptr_t me = (uintptr_t)arg;
	unsigned long wanted = producers * (each / consumers + (me < each % consumers)), got = 0;

	while (got < wanted) {
		unsigned long before = got;

		for (unsigned p = 0; p < producers; p++) {
			struct block b;

			while (ring_get(rings[p][me], &b)) {
				block_verify(&b);
				free(b.ptr);
				got++;
			}
		}
		if (got == before)
			sched_yield();
	}
	return NULL;
}

static void round_trip(void)
{
	pthread_t p[MOST], c[MOST];

	for (uintptr_t i = 0; i < consumers; i++)
		c[i] = thread_start(consume, (void *)i);
	for (uintptr_t i = 0; i < producers; i++)
		p[i] = thread_start(produce, (void *)i);
	for (unsigned i = 0; i < producers; i++)
		thread_join(p[i]);
	for (unsigned i = 0; i < consumers; i++)
		thread_join(c[i]);
	rest_alone();
}

static void make_rings(void)
{
	for (unsigned i = 0; i < producers; i++) {
		for (unsigned k = 0; k < consumers; k++) {
			rings[i][k] = mmap(NULL, sizeof(struct ring), PROT_READ | PROT_WRITE,
					   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
			CHECK(rings[i][k] != MAP_FAILED);
		}
	}
}

int main(int argc, char **argv)
{
	long first, most;

	CHECK(argc == 3);
	producers = (unsigned)atoi(argv[1]);
	consumers = (unsigned)atoi(argv[2]);
	CHECK(producers >= 1 && producers <= MOST && consumers >= 1 && consumers <= MOST);
	each = scaled(400000) / producers;
	make_rings();
	rest_on_signal();
	/* twice, so that the rings are full of touched pages and the heap has its size */
	round_trip();
	round_trip();
	first = status_kib("VmHWM:");
	for (int i = 0; i < 3; i++)
		round_trip();
	most = status_kib("VmHWM:");
	if (most > first * 3 / 2 + 16384)
		fprintf(stderr, "at most %ld KiB, then %ld\n", first, most);
	CHECK(most <= first * 3 / 2 + 16384);
	rest_check();
	return 0;
}
