/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * How a test program says that something is wrong, or that it cannot run here.
 *
 * Nothing in this file allocates: it must work while the allocator does not.
 */
#ifndef NEAR_TEST_CHECK_H
#define NEAR_TEST_CHECK_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SKIP_STATUS 77

/* Keeps the compiler from knowing where a pointer came from, and so from removing calls or warning of misuse. */
static inline void *opaque(void *ptr)
{
	__asm__ volatile("" : "+r"(ptr) : : "memory");
	return ptr;
}

static inline size_t opaque_size(size_t size)
{
	__asm__ volatile("" : "+r"(size));
	return size;
}

static inline void say(int fd, const char *text)
{
	ssize_t written = write(fd, text, strlen(text));

	(void)written;
}

static inline void check_failed(const char *file, int line, const char *what)
{
	char text[400];

	snprintf(text, sizeof(text), "%s:%d: not true: %s (errno %d, pid %d)\n", file, line, what, errno,
		 (int)getpid());
	say(2, text);
	abort();
}

#define CHECK(condition) ((condition) ? (void)0 : check_failed(__FILE__, __LINE__, #condition))

/* The reason is the last line on stdout; the driver prints it. */
static inline void skip(const char *reason)
{
	say(1, reason);
	say(1, "\n");
	_exit(SKIP_STATUS);
}

/* `count` times NEAR_TEST_SCALE (default 1): longer runs without another program. */
static inline unsigned long scaled(unsigned long count)
{
	const char *scale = getenv("NEAR_TEST_SCALE");
	double factor = scale != NULL ? strtod(scale, NULL) : 1.0;

	return factor > 0 ? (unsigned long)((double)count * factor) : count;
}

static inline uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline void nap_ms(unsigned ms)
{
	struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

	while (nanosleep(&pause, &pause) != 0 && errno == EINTR)
		continue;
}

/* Waits for a child that must end with exit(0). */
static inline void expect_clean_exit(pid_t child)
{
	int status = -1;
	pid_t done;

	do
		done = waitpid(child, &status, 0);
	while (done == -1 && errno == EINTR);
	CHECK(done == child);
	CHECK(!WIFSIGNALED(status));
	CHECK(WEXITSTATUS(status) == 0);
}

/* The case of a program with several: argv[1] must name it. */
struct test_case {
	const char *name;
	void (*run)(void);
};

static inline int run_case(int argc, char **argv, const struct test_case *cases, size_t count)
{
	for (size_t i = 0; argc > 1 && i < count; i++) {
		if (strcmp(cases[i].name, argv[1]) == 0) {
			cases[i].run();
			return 0;
		}
	}
	for (size_t i = 0; i < count; i++) {
		say(2, cases[i].name);
		say(2, "\n");
	}
	return 2;
}

#define RUN_CASE(argc, argv, cases) run_case(argc, argv, cases, sizeof(cases) / sizeof((cases)[0]))

#endif
