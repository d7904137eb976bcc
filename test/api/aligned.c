/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* The aligning functions: valid, huge and invalid alignments, each as glibc answers them. */
#include "api.h"

static void *by_posix_memalign(size_t alignment, size_t size)
{
	void *p = NULL;

	errno = posix_memalign(&p, alignment, size);
	return p;
}

static void *(*const aligning[])(size_t, size_t) = {by_posix_memalign, aligned_alloc, memalign};

Test(aligned, every_alignment_to_a_gibibyte)
{
	static const size_t sizes[] = {0, 1, 8, 24, 100, 1000, 4096, 5000, 70000, 300000, 3000000};

	for (size_t alignment = 8; alignment <= GIB; alignment *= 2) {
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			for (size_t f = 0; f < 3; f++) {
				unsigned char *p = aligning[f](alignment, sizes[i]);

				cr_assert_not_null(p, "alignment %zu size %zu", alignment, sizes[i]);
				cr_assert(aligned_to(p, alignment), "%p for %zu", (void *)p, alignment);
				cr_assert(aligned_to(p, 16));
				cr_assert_geq(malloc_usable_size(p), sizes[i]);
				memset(p, 0x5a,
				       malloc_usable_size(p) < MIB ? malloc_usable_size(p) : sizes[i]);
				free(p);
			}
		}
	}
}

Test(aligned, beyond_a_gibibyte)
{
	for (size_t alignment = 2 * GIB; alignment <= 64 * GIB; alignment *= 2) {
		unsigned char *p = aligned_alloc(alignment, 100);

		if (p == NULL) {
			cr_expect_eq(errno, ENOMEM);
			continue;
		}
		cr_expect(aligned_to(p, alignment));
		memset(p, 1, malloc_usable_size(p));
		free(p);
	}
}

Test(aligned, alignment_that_the_address_space_does_not_have)
{
	for (size_t alignment = (size_t)1 << 48; alignment != 0; alignment *= 2) {
		void *p = NULL;
		void *q;

		/* glibc answers the highest alignments of memalign and aligned_alloc with EINVAL, lower ones ENOMEM */
		errno = 0;
		q = opaque(memalign(alignment, 100));
		cr_expect_null(q);
		cr_expect(errno == ENOMEM || (errno == EINVAL && alignment > SIZE_MAX / 2));
		errno = 0;
		q = opaque(aligned_alloc(alignment, 100));
		cr_expect_null(q);
		cr_expect(errno == ENOMEM || (errno == EINVAL && alignment > SIZE_MAX / 2));
		cr_expect_eq(posix_memalign(&p, alignment, 100), ENOMEM);
	}
}

Test(aligned, many_at_once_do_not_overlap)
{
	enum { COUNT = 200 };
	unsigned char *p[COUNT];

	for (size_t alignment = 32; alignment <= 64 * KIB; alignment *= 2) {
		for (int i = 0; i < COUNT; i++) {
			p[i] = memalign(alignment, 40);
			cr_assert(aligned_to(p[i], alignment));
			memset(p[i], i, malloc_usable_size(p[i]) < 4096 ? malloc_usable_size(p[i]) : 40);
		}
		for (int i = 0; i < COUNT; i++) {
			for (int k = 0; k < 40; k++)
				cr_assert_eq(p[i][k], (unsigned char)i);
			free(p[i]);
		}
	}
}

Test(posix_memalign, tells_EINVAL_and_leaves_the_pointer)
{
	static const size_t bad[] = {
		0, 1, 2, 4, 3, 12, 24, 48, 100, 4095, 4097, SIZE_MAX, ((size_t)1 << 63) + 8};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		void *p = (void *)16;

		errno = 4711;
		cr_expect_eq(posix_memalign(&p, bad[i], 64), EINVAL, "alignment %zu", bad[i]);
		cr_expect_eq(p, (void *)16);
		cr_expect_eq(errno, 4711);
	}
}

Test(posix_memalign, tells_ENOMEM_and_leaves_the_pointer_and_errno)
{
	for (size_t i = 0; i < IMPOSSIBLE; i++) {
		void *p = (void *)16;

		cr_expect_eq(posix_memalign(&p, 64, impossible[i]), ENOMEM);
		cr_expect_eq(posix_memalign(&p, 8, impossible[i]), ENOMEM);
		cr_expect_eq(posix_memalign(&p, MIB, impossible[i]), ENOMEM);
		cr_expect_eq(p, (void *)16);
	}
}

Test(posix_memalign, of_zero_bytes)
{
	for (size_t alignment = 8; alignment <= 64 * KIB; alignment *= 2) {
		void *p = NULL;

		cr_expect_eq(posix_memalign(&p, alignment, 0), 0);
		cr_expect_not_null(p);
		cr_expect(aligned_to(p, alignment));
		free(p);
	}
}

/* glibc before 2.38 rounds what is not a power of two up; 2.38 made aligned_alloc answer EINVAL. */
Test(memalign, rounds_an_odd_alignment_up)
{
	static const struct {
		size_t given, got;
	} rows[] = {{0, 16}, {1, 16}, {3, 16}, {17, 32}, {24, 32}, {48, 64}, {100, 128}, {4097, 8192}};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		void *p = memalign(rows[i].given, 100);

		cr_assert_not_null(p, "memalign(%zu)", rows[i].given);
		cr_expect(aligned_to(p, rows[i].got));
		free(p);
	}
}

Test(aligned_alloc, odd_alignments_are_refused_or_rounded_up)
{
	static const size_t odd[] = {0, 3, 17, 24, 48, 100, 4097};

	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		void *p;

		errno = 0;
		p = aligned_alloc(odd[i], 100);
		if (p == NULL)
			cr_expect_eq(errno, EINVAL);
		else
			cr_expect(aligned_to(p, 16) && (odd[i] < 17 || aligned_to(p, odd[i] > 32 ? 64 : 32)));
		free(p);
	}
}

Test(aligned_alloc, size_need_not_be_a_multiple)
{
	void *p = aligned_alloc(4096, 17);

	cr_expect_not_null(p);
	cr_expect(aligned_to(p, 4096));
	free(p);
}

Test(valloc, pages)
{
	for (size_t size = 0; size < 20000; size += 997) {
		void *p = valloc(size), *q = pvalloc(size);

		cr_expect(p != NULL && q != NULL);
		cr_expect(aligned_to(p, 4096) && aligned_to(q, 4096));
		cr_expect_geq(malloc_usable_size(q), (size + 4095) / 4096 * 4096);
		memset(q, 1, malloc_usable_size(q));
		free(p);
		free(q);
	}
}

Test(aligned, realloc_of_an_aligned_block_keeps_the_contents)
{
	for (size_t alignment = 32; alignment <= 4 * MIB; alignment *= 2) {
		unsigned char *p = memalign(alignment, 300);

		memset(p, 7, 300);
		p = realloc(p, 100000);
		for (int i = 0; i < 300; i++)
			cr_assert_eq(p[i], 7);
		p = realloc(p, 10);
		for (int i = 0; i < 10; i++)
			cr_assert_eq(p[i], 7);
		free(p);
	}
}
