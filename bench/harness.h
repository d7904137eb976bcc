/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * What every workload needs: parameters, time, random numbers, and the lines that it prints for bench/run.
 *
 * The allocator is called through the pointers below, so that the compiler can neither merge nor drop calls, and every
 * allocator pays the same for them.
 */
#ifndef NEAR_BENCH_HARNESS_H
#define NEAR_BENCH_HARNESS_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void *(*volatile bench_malloc)(size_t) = malloc;
static void (*volatile bench_free)(void *) = free;

__attribute__((format(printf, 1, 2), noreturn)) static inline void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

/* ---- parameters ----------------------------------------------------------------------------------- */

/* The value of key=value among the arguments; `fallback` when it is not there. */
static inline const char *parameter(char **argv, const char *key, const char *fallback)
{
	size_t n = strlen(key);

	for (char **arg = argv + 1; *arg; arg++) {
		if (!strncmp(*arg, key, n) && (*arg)[n] == '=')
			return *arg + n + 1;
	}
	return fallback;
}

static inline unsigned long parameter_number(char **argv, const char *key, unsigned long fallback)
{
	const char *text = parameter(argv, key, NULL);
	char *end;

	if (!text)
		return fallback;

	unsigned long value = strtoul(text, &end, 10);

	if (!*text || *end)
		die("%s: not a number: %s", key, text);
	return value;
}

/* ---- measuring ------------------------------------------------------------------------------------ */

static inline uint64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline uint64_t now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

/* What this thread has spent of the processor: for workloads of one thread that never waits. */
static inline uint64_t thread_ns(void)
{
	return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

enum { FIRST_SEED = 0x2545f491 };

/* xorshift64*: small, and the same for every allocator. */
static inline uint64_t random_next(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 2685821657736338717u;
}

static inline uint32_t random_below(uint64_t *state, uint32_t bound)
{
	return (uint32_t)((random_next(state) >> 32) * bound >> 32);
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Sorts the values. */
static inline double median(double *values, unsigned n)
{
	qsort(values, n, sizeof(*values), compare_doubles);
	return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/* ---- the report ----------------------------------------------------------------------------------- */

/* `better` is lower, higher or none. */
static inline void report(const char *metric, double value, const char *better)
{
	printf("%s %.9g %s\n", metric, value, better);
}

/* A metric whose name has a number in it, at %u. */
static inline void report_numbered(const char *format, unsigned n, double value, const char *better)
{
	char metric[64];

	snprintf(metric, sizeof(metric), format, n);
	report(metric, value, better);
}

#endif
