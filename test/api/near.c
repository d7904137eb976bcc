/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* The near_* calls and what they tell of the size classes. */
#include "api.h"
#include "near/malloc.h"
#include "threads.h"

Test(near_version, is_three_numbers)
{
	int major, minor, patch;
	char rest;

	cr_expect_eq(sscanf(near_version(), "%d.%d.%d%c", &major, &minor, &patch, &rest), 3);
}

Test(near_good_size, is_what_malloc_gives)
{
	EACH_SIZE(size, 5 * MIB)
	{
		void *p = malloc(size);

		/* A kept mapping that is used again may be an eighth too large. */
		cr_assert_geq(malloc_usable_size(p), near_good_size(size));
		cr_assert_leq(malloc_usable_size(p), near_good_size(size) + (size > MIB ? near_good_size(size) / 8 : 0),
			      "size %zu: %zu and %zu", size, near_good_size(size), malloc_usable_size(p));
		cr_assert_eq(near_usable_size(p), malloc_usable_size(p));
		free(p);
	}
}

Test(near_good_size, is_a_multiple_of_16_and_idempotent)
{
	for (size_t size = 0; size <= 2 * MIB; size++) {
		size_t good = near_good_size(size);

		cr_assert_geq(good, size);
		cr_assert_gt(good, 0);
		cr_assert_eq(good % 16, 0, "good size of %zu is %zu", size, good);
		cr_assert_eq(near_good_size(good), good);
	}
}

Test(near_good_size, wastes_at_most_an_eighth_above_128_bytes)
{
	for (size_t size = 129; size <= 4 * MIB; size++) {
		size_t waste = near_good_size(size) - size;

		cr_assert_leq(waste * 8, near_good_size(size), "%zu gives %zu", size, near_good_size(size));
	}
}

Test(near_good_size, goes_in_16_byte_steps_to_128)
{
	for (size_t size = 1; size <= 128; size++)
		cr_expect_eq(near_good_size(size), (size + 15) / 16 * 16);
	cr_expect_eq(near_good_size(0), 16);
}

Test(near_good_size, of_powers_of_two_is_themselves)
{
	for (size_t size = 16; size <= GIB; size *= 2)
		cr_expect_eq(near_good_size(size), size);
}

Test(near_good_size, of_the_impossible_is_zero)
{
	for (size_t i = 0; i < IMPOSSIBLE; i++)
		cr_expect_eq(near_good_size(impossible[i]), 0);
}

Test(near_classes, powers_of_two_are_naturally_aligned)
{
	for (size_t size = 16; size <= 256 * KIB; size *= 2) {
		for (int i = 0; i < 100; i++) {
			void *p = malloc(size);

			cr_assert(aligned_to(p, size), "malloc(%zu) = %p", size, p);
		}
	}
}

Test(near_malloc_at_least, tells_the_usable_size)
{
	EACH_SIZE(size, 3 * MIB)
	{
		struct near_sized got = near_malloc_at_least(size);

		cr_assert_not_null(got.ptr);
		cr_assert_geq(got.size, size);
		cr_assert_eq(got.size, malloc_usable_size(got.ptr));
		memset(got.ptr, 1, got.size);
		free(got.ptr);
	}
}

Test(near_malloc_at_least, refuses_the_impossible)
{
	for (size_t i = 0; i < IMPOSSIBLE; i++)
		EXPECT_REFUSED(near_malloc_at_least(impossible[i]).ptr);
}

Test(near_usable_size, null_is_zero)
{
	cr_expect_eq(near_usable_size(NULL), 0);
}

Test(near_owns, tells_ours_from_others)
{
	static int in_data;
	int on_stack;

	EACH_SIZE(size, 3 * MIB)
	{
		void *p = malloc(size);

		cr_assert(near_owns(p), "size %zu", size);
		free(p);
	}
	cr_expect_not(near_owns(NULL));
	cr_expect_not(near_owns(&in_data));
	cr_expect_not(near_owns(&on_stack));
	cr_expect_not(near_owns((void *)16));
	cr_expect_not(near_owns((void *)UINTPTR_MAX));
	cr_expect_not(near_owns((void *)((uintptr_t)1 << 47)));
	cr_expect_not(near_owns((void *)0xdeadbeefdeadbeef));
	cr_expect_not(near_owns((void *)(uintptr_t)&near_version));
}

Test(near_owns, aligned_and_large_blocks)
{
	void *p = memalign(64 * MIB, 100), *q = malloc(GIB);

	cr_expect(near_owns(p));
	cr_expect(near_owns(q));
	free(p);
	free(q);
	malloc_trim(0);
	cr_expect_not(near_owns(q));
}

/* Less than the allowance, or the janitor may be quicker. */
Test(near_trim, returns_what_it_gave_back)
{
	static void *p[7000];
	long peak;

	for (int i = 0; i < 7000; i++) {
		p[i] = malloc(4096);
		memset(p[i], 1, 4096);
	}
	peak = rss_kib();
	for (int i = 0; i < 7000; i++)
		free(p[i]);
	cr_expect_geq(near_trim(0), 7000u * 4096u * 3 / 4);
	cr_expect_lt(rss_kib(), peak - 20000);
	cr_expect_leq(near_trim(0), MIB);
}

/* What is beyond the allowance goes at any slow call, so the RSS tells nothing. */
Test(near_trim, keeps_what_it_is_told_to_keep)
{
	void *p[64];

	for (int i = 0; i < 64; i++) {
		p[i] = malloc(MIB);
		memset(p[i], 1, MIB);
	}
	for (int i = 0; i < 64; i++)
		free(p[i]);
	cr_expect_lt(near_trim(GIB), 8 * MIB);
	cr_expect_geq(near_trim(0), MIB);
}

Test(near_stats, adds_up)
{
	struct near_stats stats;
	void *p = malloc(10 * MIB);

	memset(&stats, 0xee, sizeof(stats));
	cr_assert_eq(near_stats(&stats, sizeof(stats)), 0);
	cr_expect_eq(stats.version, 1);
	cr_expect(stats.mode == NEAR_MODE_RSEQ || stats.mode == NEAR_MODE_LOCKED);
	cr_expect_geq(stats.nodes, 1);
	cr_expect_geq(stats.cpus, 1);
	cr_expect_geq(stats.allocated, 10 * MIB);
	cr_expect_geq(stats.large, 10 * MIB);
	cr_expect_geq(stats.mapped, stats.allocated);
	cr_expect_leq(stats.allocated + stats.cached_cpu + stats.cached_depot + stats.free_span +
			      stats.metadata,
		      stats.mapped);
	free(p);
}

Test(near_stats, takes_an_older_structure)
{
	struct near_stats stats;

	memset(&stats, 0xee, sizeof(stats));
	cr_assert_eq(near_stats(&stats, 8), 0);
	cr_expect_eq(stats.version, 1);
	cr_expect_eq(stats.nodes, 0xeeeeeeee);
	errno = 0;
	cr_expect_eq(near_stats(&stats, 0), -1);
	cr_expect_eq(errno, EINVAL);
	errno = 0;
	cr_expect_eq(near_stats(NULL, sizeof(stats)), -1);
	cr_expect_eq(errno, EINVAL);
}

/* A caller that was compiled with a later header. */
Test(near_stats, takes_a_newer_structure)
{
	struct {
		struct near_stats known;
		unsigned char later[64];
	} stats;

	memset(&stats, 0xee, sizeof(stats));
	cr_assert_eq(near_stats(&stats.known, sizeof(stats)), 0);
	cr_expect_eq(stats.known.version, 1);
}

Test(near_stats, follows_small_blocks)
{
	enum { COUNT = 30000 };
	static void *p[COUNT];
	struct near_stats before, during, after;

	near_stats(&before, sizeof(before));
	for (int i = 0; i < COUNT; i++)
		p[i] = malloc(1024);
	near_stats(&during, sizeof(during));
	for (int i = 0; i < COUNT; i++)
		free(p[i]);
	near_stats(&after, sizeof(after));
	cr_expect_geq(during.allocated, before.allocated + 1024u * COUNT);
	cr_expect_leq(during.allocated, before.allocated + 1024u * COUNT + MIB);
	cr_expect_leq(after.allocated, before.allocated + MIB);
	cr_expect_gt(during.refills, before.refills);
}

Test(near_report, fits_a_screen_and_names_the_mode)
{
	char text[16384];
	int ends[2], lines = 0;
	ssize_t size;

	cr_assert_eq(pipe(ends), 0);
	cr_assert_eq(near_report(ends[1]), 0);
	close(ends[1]);
	size = read(ends[0], text, sizeof(text) - 1);
	cr_assert_gt(size, 0);
	text[size] = '\0';
	for (const char *at = text; (at = strchr(at, '\n')) != NULL; at++)
		lines++;
	cr_expect_leq(lines, 60);
	cr_expect(strstr(text, "rseq") != NULL || strstr(text, "locked") != NULL);
}

Test(near_report, tells_the_error_of_write)
{
	errno = 0;
	cr_expect_eq(near_report(-1), -1);
	cr_expect_eq(errno, EBADF);
}
