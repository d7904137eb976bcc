/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* What the interface tests share. Compile with -fno-builtin, or the compiler answers instead of the allocator. */
#ifndef NEAR_TEST_API_H
#define NEAR_TEST_API_H

#include <criterion/criterion.h>
#include <errno.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "names.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)

/* Sizes that no allocator can serve. */
static const size_t impossible[] = {
	(size_t)PTRDIFF_MAX + 1,
	(size_t)PTRDIFF_MAX + 4096,
	SIZE_MAX / 2 + 4097,
	SIZE_MAX - 65536,
	SIZE_MAX - 4096,
	SIZE_MAX - 4095,
	SIZE_MAX - 64,
	SIZE_MAX - 16,
	SIZE_MAX - 1,
	SIZE_MAX,
};
#define IMPOSSIBLE (sizeof(impossible) / sizeof(impossible[0]))

/* The next size to try: all small ones, then on both sides of every sixteenth of a power of two. */
static inline size_t next_size(size_t size)
{
	size_t step = ((size_t)1 << (63 - __builtin_clzl(size | 1))) / 16;

	if (size < 1024)
		return size + 1;
	return size % step == 1 ? size + step - 2 : size + 1;
}

#define EACH_SIZE(size, max) for (size_t size = 0; size <= (max); size = next_size(size))

static inline bool aligned_to(const void *ptr, size_t alignment)
{
	return (uintptr_t)ptr % alignment == 0;
}

static inline void *refuse_check(void *ptr)
{
	int error = errno;

	cr_expect_null(ptr);
	cr_expect_eq(error, ENOMEM);
	errno = 0;
	return ptr;
}

#define EXPECT_REFUSED(call) (errno = 0, refuse_check(opaque(call)))

#endif
