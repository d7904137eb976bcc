/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * False sharing: what cache_scratch and cache_thrash have in common. The rate counts writes, and `shared` how many of
 * the objects lay in a line with another thread's.
 */
#ifndef NEAR_BENCH_SHARING_H
#define NEAR_BENCH_SHARING_H

#include "objects.h"
#include "team.h"

enum { CACHE_LINE = 64 };

static size_t sharing_size;
static unsigned sharing_threads;
static unsigned long sharing_rounds, sharing_writes;
static bool sharing_passive;
static unsigned char **sharing_given;	 /* to each thread by the first one */
static _Atomic uintptr_t *sharing_lines; /* where each thread's object is */
static _Atomic unsigned long sharing_met;

static inline bool sharing_meets(unsigned number, uintptr_t line)
{
	bool met = false;

	atomic_store(&sharing_lines[number], line);
	for (unsigned i = 0; i < sharing_threads; i++)
		met |= i != number && atomic_load(&sharing_lines[i]) == line;
	return met;
}

static void sharing_work(struct member *member)
{
	if (sharing_passive)
		put(sharing_given[member->number]);
	for (unsigned long round = 0; round < sharing_rounds; round++) {
		volatile unsigned char *object = get(sharing_size);
		unsigned char value = 0;

		sharing_met += sharing_meets(member->number, (uintptr_t)object / CACHE_LINE);
		for (size_t i = 0; i < sharing_size; i++)
			object[i] = 0;
		for (unsigned long write = 0; write < sharing_writes; write++, value++) {
			for (size_t i = 0; i < sharing_size; i++)
				object[i]++;
		}
		for (size_t i = 0; i < sharing_size; i++) {
			if (object[i] != value)
				die("an object was overwritten");
		}
		atomic_store(&sharing_lines[member->number], 0);
		put((void *)object);
	}
}

static void sharing_run(void)
{
	sharing_threads = (unsigned)number("threads", 2);
	sharing_size = number("size", 8);
	sharing_rounds = scaled("rounds", 60000, 15000) / sharing_threads;
	sharing_writes = number("writes", 1000);
	sharing_given = table(sharing_threads, sizeof(*sharing_given));
	sharing_lines = table(sharing_threads, sizeof(*sharing_lines));
	for (unsigned i = 0; sharing_passive && i < sharing_threads; i++)
		sharing_given[i] = get(sharing_size);
	team_run(sharing_threads, sharing_work);
	stop(sharing_rounds * sharing_threads * sharing_writes * sharing_size);
	report("shared_percent", 100.0 * (double)sharing_met / (double)(sharing_rounds * sharing_threads), "lower");
}

static inline int sharing_main(char **argv, const char *name, bool passive)
{
	static const char *const rows[] = {"threads=1", "threads=2", "threads=8", NULL};

	sharing_passive = passive;
	return workload_main(argv, &(struct workload){name, rows, sharing_run});
}

#endif
