/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* Threads of test programs: started or refused aloud, and the size of the process that they make. */
#ifndef NEAR_TEST_THREADS_H
#define NEAR_TEST_THREADS_H

#include <fcntl.h>
#include <pthread.h>

#include "check.h"

/* 0 or the error of pthread_create; stack 0 means the default. */
static inline int thread_try(pthread_t *thread, size_t stack, void *(*entry)(void *), void *arg)
{
	pthread_attr_t attr;
	int error;

	pthread_attr_init(&attr);
	if (stack != 0)
		CHECK(pthread_attr_setstacksize(&attr, stack) == 0);
	error = pthread_create(thread, &attr, entry, arg);
	pthread_attr_destroy(&attr);
	return error;
}

static inline pthread_t thread_start(void *(*entry)(void *), void *arg)
{
	pthread_t thread;

	CHECK(thread_try(&thread, 0, entry, arg) == 0);
	return thread;
}

static inline void thread_join(pthread_t thread)
{
	CHECK(pthread_join(thread, NULL) == 0);
}

/* One line of /proc/self/status ("VmRSS:") in KiB; -1 without /proc. Allocates nothing. */
static inline long status_kib(const char *line)
{
	char text[4096];
	int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	ssize_t length = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
	char *at;

	if (fd >= 0)
		close(fd);
	text[length > 0 ? length : 0] = '\0';
	at = strstr(text, line);
	return at != NULL ? strtol(at + strlen(line), NULL, 10) : -1;
}

static inline long rss_kib(void)
{
	return status_kib("VmRSS:");
}

#endif
