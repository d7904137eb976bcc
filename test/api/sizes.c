/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* malloc and calloc over all sizes: zero, usable bytes, alignment, impossible sizes, recycled memory. */
#include "api.h"

Test(malloc, zero_gives_a_block_of_its_own)
{
	void *a = malloc(0), *b = malloc(0);

	cr_assert_not_null(a);
	cr_assert_not_null(b);
	cr_assert_neq(a, b);
	free(a);
	free(b);
}

Test(malloc, every_size_is_16_aligned_and_usable_to_the_last_byte)
{
	EACH_SIZE(size, 3 * MIB)
	{
		unsigned char *p = malloc(size);
		size_t usable = malloc_usable_size(p);

		cr_assert_not_null(p);
		cr_assert(aligned_to(p, 16), "malloc(%zu) = %p", size, (void *)p);
		cr_assert_geq(usable, size);
		memset(p, 0xa5, usable);
		free(p);
	}
}

Test(malloc, usable_bytes_do_not_overlap_the_neighbours)
{
	enum { COUNT = 500 };
	unsigned char *blocks[COUNT];

	for (size_t size = 1; size <= 100 * KIB; size = size * 3 + 5) {
		for (unsigned i = 0; i < COUNT; i++) {
			blocks[i] = malloc(size);
			memset(blocks[i], (int)(i & 0xff), malloc_usable_size(blocks[i]));
		}
		for (unsigned i = 0; i < COUNT; i++) {
			size_t usable = malloc_usable_size(blocks[i]);

			for (size_t k = 0; k < usable; k++)
				cr_assert_eq(blocks[i][k], i & 0xff);
			free(blocks[i]);
		}
	}
}

Test(malloc, powers_of_two_are_aligned_to_themselves)
{
	for (size_t size = 16; size <= 256 * KIB; size *= 2) {
		for (int i = 0; i < 40; i++) {
			void *p = malloc(size);

			cr_expect(aligned_to(p, size < 4096 ? size : 4096), "malloc(%zu) = %p", size, p);
			p = opaque(p); /* leaked: the next one must be another */
		}
	}
}

Test(malloc, a_page_size_multiple_lies_on_a_page)
{
	for (size_t size = 512 * KIB; size <= 64 * MIB; size *= 2) {
		void *p = malloc(size);

		cr_expect(aligned_to(p, 4096), "malloc(%zu) = %p", size, p);
		free(p);
	}
}

Test(malloc, impossible_sizes_fail_with_ENOMEM)
{
	for (size_t i = 0; i < IMPOSSIBLE; i++) {
		EXPECT_REFUSED(malloc(impossible[i]));
		EXPECT_REFUSED(calloc(1, impossible[i]));
		EXPECT_REFUSED(calloc(impossible[i], 1));
		EXPECT_REFUSED(realloc(NULL, impossible[i]));
		EXPECT_REFUSED(reallocarray(NULL, 1, impossible[i]));
		EXPECT_REFUSED(valloc(impossible[i]));
		EXPECT_REFUSED(pvalloc(impossible[i]));
		EXPECT_REFUSED(memalign(16, impossible[i]));
		EXPECT_REFUSED(memalign(64 * KIB, impossible[i]));
		EXPECT_REFUSED(aligned_alloc(64, impossible[i]));
	}
}

Test(malloc, more_than_the_address_space_fails_and_harms_nothing)
{
	for (size_t size = (size_t)1 << 47; size <= (size_t)PTRDIFF_MAX && size != 0; size *= 2)
		EXPECT_REFUSED(malloc(size));
	EXPECT_REFUSED(malloc(PTRDIFF_MAX));
	EXPECT_REFUSED(malloc((size_t)PTRDIFF_MAX - 4096));
	free(malloc(100));
}

Test(malloc, keeps_errno_when_it_succeeds)
{
	EACH_SIZE(size, 8 * MIB)
	{
		void *p;

		errno = 4711;
		p = malloc(size);
		cr_assert_eq(errno, 4711);
		p = realloc(p, size * 2 + 1);
		cr_assert_eq(errno, 4711);
		free(p);
		cr_assert_eq(errno, 4711);
	}
}

Test(malloc, massive_blocks)
{
	static const struct {
		size_t size, alignment;
	} rows[] = {{256 * MIB, 16}, {512 * MIB, 4096}, {GIB, 16}, {GIB, 2 * MIB}, {2 * GIB, 16}};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		unsigned char *p = opaque(memalign(rows[i].alignment, rows[i].size));

		cr_assert_not_null(p);
		cr_assert(aligned_to(p, rows[i].alignment));
		for (size_t at = 0; at < rows[i].size; at += MIB)
			p[at] = (unsigned char)(at >> 20);
		p[rows[i].size - 1] = 1;
		for (size_t at = 0; at < rows[i].size; at += MIB)
			cr_assert_eq(p[at], (unsigned char)(at >> 20));
		free(p);
	}
}

Test(calloc, zeroes_recycled_memory)
{
	EACH_SIZE(size, 300 * KIB)
	{
		unsigned char *p[4];

		for (int i = 0; i < 4; i++) {
			p[i] = malloc(size);
			memset(p[i], 0xff, malloc_usable_size(p[i]));
		}
		for (int i = 0; i < 4; i++)
			free(p[i]);
		for (int i = 0; i < 4; i++) {
			p[i] = calloc(1, size);
			for (size_t k = 0; k < size; k++)
				cr_assert_eq(p[i][k], 0, "calloc(1, %zu) byte %zu", size, k);
		}
		for (int i = 0; i < 4; i++)
			free(p[i]);
	}
}

Test(calloc, zeroes_large_recycled_memory)
{
	for (int round = 0; round < 6; round++) {
		for (size_t size = 512 * KIB; size <= 16 * MIB; size = size * 3 / 2) {
			unsigned char *p = malloc(size);

			memset(p, 0xff, size);
			free(p);
			p = calloc(size / 16, 16);
			for (size_t k = 0; k < size; k += 512)
				cr_assert_eq(p[k], 0);
			cr_assert_eq(p[size - 16], 0);
			free(p);
		}
		if (round == 3)
			malloc_trim(0);
	}
}

Test(calloc, refuses_products_that_overflow)
{
	EXPECT_REFUSED(calloc(SIZE_MAX, SIZE_MAX));
	EXPECT_REFUSED(calloc(SIZE_MAX / 2 + 1, 2));
	EXPECT_REFUSED(calloc(2, SIZE_MAX / 2 + 1));
	EXPECT_REFUSED(calloc((size_t)1 << 32, (size_t)1 << 32));
	EXPECT_REFUSED(calloc(((size_t)1 << 32) + 1, (size_t)1 << 32));
	EXPECT_REFUSED(calloc(SIZE_MAX / 3 + 1, 3));
}

Test(calloc, nothing_gives_a_block)
{
	void *a = calloc(0, 10), *b = calloc(10, 0), *c = calloc(0, SIZE_MAX);

	cr_expect_not_null(a);
	cr_expect_not_null(b);
	cr_expect_not_null(c);
	free(a);
	free(b);
	free(c);
}

Test(calloc, does_not_touch_fresh_pages)
{
	size_t size = 512 * MIB;
	unsigned char *p = calloc(1, size);
	long before, after;
	FILE *statm = fopen("/proc/self/statm", "r");

	cr_assert_not_null(p);
	cr_assert_not_null(statm);
	cr_assert_eq(fscanf(statm, "%*d %ld", &after), 1);
	fclose(statm);
	before = (long)(size / 4096);
	cr_expect_lt(after, before / 4);
	cr_expect_eq(p[size / 2], 0);
	free(p);
}

Test(free, null_is_nothing_and_errno_is_kept)
{
	errno = 4711;
	free(NULL);
	if (cfree)
		cfree(NULL);
	cr_expect_eq(errno, 4711);
}

Test(free, keeps_errno_for_every_kind_of_block)
{
	EACH_SIZE(size, 64 * MIB)
	{
		void *p = malloc(size);
		void *q = memalign(4096, size);

		errno = 4711;
		free(p);
		free(q);
		cr_assert_eq(errno, 4711, "after a block of %zu", size);
	}
}
