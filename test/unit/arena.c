/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* meta/arena: alignment, zeroed and disjoint pieces, growth, and several threads at once. */
#include "meta/arena.h"

#include <pthread.h>
#include <stdlib.h>

#include "unit.h"

struct piece {
	unsigned char *start;
	size_t bytes;
};

static struct piece take(size_t bytes, size_t align)
{
	struct piece piece = {near__arena_alloc(bytes, align, 0), bytes};

	cr_assert_not_null(piece.start);
	cr_assert_eq((uintptr_t)piece.start % size_max(align, CACHE_LINE), 0);
	return piece;
}

static int by_start(const void *a, const void *b)
{
	const struct piece *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

static void expect_disjoint(struct piece *pieces, size_t n)
{
	qsort(pieces, n, sizeof(*pieces), by_start);
	for (size_t i = 1; i < n; i++)
		cr_assert_leq(pieces[i - 1].start + pieces[i - 1].bytes, pieces[i].start);
}

Test(arena, pieces_are_aligned_zeroed_and_disjoint)
{
	static struct piece pieces[3000];
	uint64_t random = 7;

	for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
		size_t bytes = 1 + unit_random(&random) % (i % 50 ? 3000 : 100000);
		size_t align = (size_t)1 << unit_random(&random) % 17;

		pieces[i] = take(bytes, align);
		for (size_t b = 0; b < bytes; b++)
			cr_assert_eq(pieces[i].start[b], 0);
		memset(pieces[i].start, 0xa5, bytes);
	}
	expect_disjoint(pieces, ARRAY_LEN(pieces));
}

Test(arena, large_pieces_have_mappings_of_their_own)
{
	size_t before = near__arena_mapped();
	struct piece piece = take(MIB + 5, near__os_page_size);

	cr_assert_eq(near__arena_mapped() - before, round_up(MIB + 5, near__os_page_size));
	piece.start[MIB + 4] = 1;
}

Test(arena, grows_by_blocks)
{
	size_t before, pieces = 0;

	take(64, 64);
	before = near__arena_mapped();
	for (; near__arena_mapped() == before; pieces++)
		take(1024, 64);
	cr_assert_geq(pieces, 1000, "a block of 1 MiB was used up first");
	cr_assert_eq(near__arena_mapped() - before, MIB);
}

Test(arena, small_pieces_cost_little)
{
	size_t before = near__arena_mapped();

	for (int i = 0; i < 16 * 1024; i++)
		take(256, 256);
	cr_assert_leq(near__arena_mapped() - before, 9 * MIB, "4 MiB of pieces took %zu",
		      near__arena_mapped() - before);
}

enum { THREADS = 4, EACH = 4000 };

static struct piece shared[THREADS * EACH];

static void *taker(void *arg)
{
	struct piece *mine = arg;

	for (int i = 0; i < EACH; i++) {
		mine[i] = (struct piece){near__arena_alloc(64 + (size_t)i % 700, 64, 0), 64 + (size_t)i % 700};
		if (mine[i].start)
			memset(mine[i].start, 1, mine[i].bytes);
	}
	return NULL;
}

Test(arena, threads_never_share_a_piece, .timeout = 30)
{
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, taker, shared + i * EACH), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	cr_assert_not_null(shared[0].start);
	expect_disjoint(shared, ARRAY_LEN(shared));
	cr_assert_not_null(shared[0].start, "nobody was refused");
}
