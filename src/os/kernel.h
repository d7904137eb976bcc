/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * System calls for this layer: raw, so that none is a cancellation point or meets an interposer, and with the
 * result as the kernel gives it (-errno), so that errno stays the program's.
 */
#ifndef NEAR_OS_KERNEL_H
#define NEAR_OS_KERNEL_H

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/compiler.h"

static inline long kernel(long number, long a, long b, long c, long d, long e, long f)
{
	int saved = errno;
	long result = syscall(number, a, b, c, d, e, f);

	if (result == -1) {
		result = -errno;
		errno = saved;
	}
	return result;
}

#define KERNEL_PAD(number, a, b, c, d, e, f, ...) \
	kernel(number, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define KERNEL(...) KERNEL_PAD(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)

/* The address or NULL. */
ALWAYS_INLINE void *kernel_pointer(long result)
{
	return (unsigned long)result > -4096ul ? NULL : (void *)result;
}

#endif
