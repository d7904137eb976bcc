/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Blocks that grow and shrink between 16 bytes and 32 MiB under several threads, aligned ones among them; what must
 * survive is checked densely at both ends and sparsely between.
 */
#include "rest.h"
#include "shadow.h"
#include "threads.h"

enum { THREADS = 3, BLOCKS = 12 };

/* Even over the magnitudes, so that every border between the tiers is crossed often. */
static size_t any_size(uint64_t *random)
{
	unsigned bits = 4 + (unsigned)random_below(random, 21);

	return ((size_t)1 << bits) + (size_t)random_below(random, (size_t)1 << bits) -
	       random_below(random, 3);
}

static size_t next_word(size_t i, size_t words)
{
	return i < 1024 || i + 1024 > words ? i + 1 : i + 61;
}

static void write_pattern(uint64_t *p, size_t words, uint64_t key)
{
	for (size_t i = 0; i < words; i = next_word(i, words))
		p[i] = key + i;
}

/* What was written for `full` words is checked as far as `kept`. */
static void check_pattern(const uint64_t *p, size_t kept, size_t full, uint64_t key)
{
	for (size_t i = 0; i < kept; i = next_word(i, full))
		CHECK(p[i] == key + i);
}

struct piece {
	uint64_t *ptr;
	size_t size;
	uint64_t key;
};

static void replace(struct piece *b, size_t wanted, uint64_t *random)
{
	check_pattern(b->ptr, b->size / 8, b->size / 8, b->key);
	free(b->ptr);
	b->ptr = memalign((size_t)16 << random_below(random, 14), wanted);
}

static void resize(struct piece *b, size_t wanted)
{
	size_t kept = b->size < wanted ? b->size : wanted;

	b->ptr = opaque(realloc(b->ptr, wanted));
	CHECK(b->ptr != NULL);
	check_pattern(b->ptr, kept / 8, b->size / 8, b->key);
}

static void *work(void *arg)
{
	uint64_t random = (uintptr_t)arg + 1;
	struct piece pieces[BLOCKS] = {{.ptr = NULL}};

	for (unsigned long turn = 0; turn < scaled(6000); turn++) {
		struct piece *b = &pieces[random_below(&random, BLOCKS)];
		size_t wanted = any_size(&random);

		if (random_below(&random, 10) == 0)
			replace(b, wanted, &random);
		else
			resize(b, wanted);
		CHECK(b->ptr != NULL && (uintptr_t)b->ptr % 16 == 0 && malloc_usable_size(b->ptr) >= wanted);
		b->size = wanted;
		b->key = random_next(&random);
		write_pattern(b->ptr, wanted / 8, b->key);
	}
	for (unsigned i = 0; i < BLOCKS; i++) {
		check_pattern(pieces[i].ptr, pieces[i].size / 8, pieces[i].size / 8, pieces[i].key);
		free(pieces[i].ptr);
	}
	return NULL;
}

int main(void)
{
	pthread_t threads[THREADS];

	for (uintptr_t i = 0; i < THREADS; i++)
		threads[i] = thread_start(work, (void *)i);
	for (int i = 0; i < THREADS; i++)
		thread_join(threads[i]);
	rest_check();
	return 0;
}
