/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * The names by which programs make threads: to see the first, and where the program itself calls, so that no lock of
 * libc's is held. Both are passed on. The static archive has neither.
 */
#ifdef PIC

#include <errno.h>
#include <pthread.h>
#include <threads.h>
#include <unistd.h>

#include "keep/keep.h"
#include "near/malloc.h"
#include "os/os.h"

NEAR_EXPORT int pthread_create(pthread_t *restrict thread, const pthread_attr_t *restrict attributes,
			       void *(*start)(void *), void *restrict argument)
{
	static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
	int error;

	if (!real)
		*(void **)&real = near__os_next_symbol("pthread_create");
	if (!real)
		return EAGAIN;
	error = real(thread, attributes, start, argument);
	if (!error)
		near__janitor_start();
	return error;
}

NEAR_EXPORT int thrd_create(thrd_t *thread, thrd_start_t start, void *argument)
{
	static int (*real)(thrd_t *, thrd_start_t, void *);
	int result;

	if (!real)
		*(void **)&real = near__os_next_symbol("thrd_create");
	if (!real)
		return thrd_error;
	result = real(thread, start, argument);
	if (result == thrd_success)
		near__janitor_start();
	return result;
}

#endif
