/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* realloc and reallocarray: contents, shrinking that gives memory back, refusal that loses nothing. */
#include "api.h"
#include "threads.h"

static void fill(unsigned char *p, size_t size)
{
	for (size_t i = 0; i < size; i += i < 4096 ? 1 : 509)
		p[i] = (unsigned char)(i * 31 + 7);
	p[size - 1] = 0xee;
}

static void verify(const unsigned char *p, size_t size, size_t filled)
{
	for (size_t i = 0; i < size; i += i < 4096 ? 1 : 509)
		cr_assert(p[i] == (unsigned char)(i * 31 + 7) || i == filled - 1);
	if (size >= filled)
		cr_assert_eq(p[filled - 1], 0xee);
}

Test(realloc, from_any_size_to_any_size)
{
	for (size_t from = 1; from < 20 * MIB; from = from * 5 / 3 + 3) {
		for (size_t to = 1; to < 20 * MIB; to = to * 7 / 3 + 5) {
			unsigned char *p = malloc(from);

			fill(p, from);
			p = realloc(p, to);
			cr_assert_not_null(p);
			cr_assert(aligned_to(p, 16));
			cr_assert_geq(malloc_usable_size(p), to);
			verify(p, from < to ? from : to, from);
			memset(p, 1, to < MIB ? to : 1);
			p[to - 1] = 1;
			free(p);
		}
	}
}

Test(realloc, grows_in_steps_to_64_MiB_and_back)
{
	size_t size = 16;
	unsigned char *p = malloc(size);

	fill(p, size);
	while (size < 64 * MIB) {
		size_t next = size * 3 / 2 + 1;

		p = realloc(p, next);
		verify(p, size, size);
		fill(p, next);
		size = next;
	}
	while (size > 100) {
		size_t next = size / 2;

		p = realloc(p, next);
		verify(p, next, size);
		fill(p, next);
		size = next;
	}
	free(p);
}

Test(realloc, null_allocates_and_zero_frees)
{
	void *p = realloc(NULL, 0);

	cr_expect_not_null(p);
	errno = 4711;
	cr_expect_null(opaque(realloc(p, 0)));
	cr_expect_eq(errno, 4711);
	p = malloc(3 * MIB);
	cr_expect_null(opaque(realloc(p, 0)));
	cr_expect_null(opaque(reallocarray(malloc(5), 0, 8)));
}

Test(realloc, of_zero_really_frees)
{
	for (int i = 0; i < 20000; i++) {
		unsigned char *p = malloc(64 * KIB);

		memset(p, 1, 64 * KIB);
		p = opaque(realloc(p, 0));
		cr_assert_null(p);
	}
	cr_expect_lt(rss_kib(), 200 * 1024);
}

Test(realloc, same_class_stays)
{
	void *p = malloc(1000);
	void *q = realloc(p, malloc_usable_size(p));

	cr_expect_eq(p, q);
	free(q);
}

Test(realloc, refused_keeps_the_block)
{
	for (size_t size = 16; size <= 8 * MIB; size *= 8) {
		unsigned char *p = malloc(size);

		fill(p, size);
		for (size_t i = 0; i < IMPOSSIBLE; i++) {
			EXPECT_REFUSED(realloc(p, impossible[i]));
			EXPECT_REFUSED(reallocarray(p, impossible[i], 1));
		}
		EXPECT_REFUSED(realloc(p, (size_t)1 << 48));
		verify(p, size, size);
		free(p);
	}
}

Test(realloc, smaller_class_gives_memory_back)
{
	enum { COUNT = 2000 };
	static void *p[COUNT];
	long peak;

	for (int i = 0; i < COUNT; i++) {
		p[i] = malloc(64 * KIB);
		memset(p[i], 1, 64 * KIB);
	}
	peak = rss_kib();
	for (int i = 0; i < COUNT; i++) {
		p[i] = realloc(p[i], 100);
		cr_assert_leq(malloc_usable_size(p[i]), 8 * KIB);
	}
	malloc_trim(0);
	cr_expect_lt(rss_kib(), peak / 3, "%ld KiB of %ld", rss_kib(), peak);
}

Test(realloc, smaller_large_block_gives_memory_back)
{
	unsigned char *p = malloc(256 * MIB);
	long peak;

	memset(p, 1, 256 * MIB);
	peak = rss_kib();
	p = realloc(p, MIB);
	cr_assert_eq(p[MIB - 1], 1);
	cr_expect_lt(malloc_usable_size(p), 128 * MIB);
	malloc_trim(0);
	cr_expect_lt(rss_kib(), peak / 4);
	free(p);
}

/* Copying 40 times what is moved would take minutes; remapping takes milliseconds. */
Test(realloc, large_growth_is_not_copied_for_ever, .timeout = 20)
{
	size_t size = 64 * MIB;
	unsigned char *p = malloc(size);

	memset(p, 1, size);
	for (int i = 0; i < 400; i++) {
		size += MIB;
		p = realloc(p, size);
		cr_assert_not_null(p);
		p[size - 1] = 1;
	}
	cr_expect_eq(p[0], 1);
	cr_expect_eq(p[64 * MIB - 1], 1);
	free(p);
}

Test(reallocarray, multiplies_and_refuses_overflow)
{
	unsigned char *p = reallocarray(NULL, 10, 10);

	cr_assert_geq(malloc_usable_size(p), 100);
	fill(p, 100);
	EXPECT_REFUSED(reallocarray(p, SIZE_MAX / 2 + 1, 2));
	EXPECT_REFUSED(reallocarray(p, 2, SIZE_MAX / 2 + 1));
	EXPECT_REFUSED(reallocarray(p, (size_t)1 << 32, (size_t)1 << 32));
	EXPECT_REFUSED(reallocarray(p, SIZE_MAX, SIZE_MAX));
	verify(p, 100, 100);
	p = reallocarray(p, 100, 100);
	cr_assert_geq(malloc_usable_size(p), 10000);
	verify(p, 100, 100);
	free(p);
}
