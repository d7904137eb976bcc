/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * long_mixed: sizes from 16 bytes to 1 MiB, every doubling as likely as another: all slots are filled, then replaced in
 * a part of them that moves on slowly, so that some objects become old. Runs for `ms`; to see whether memory creeps,
 * minutes or hours. slope_kib_per_s is that of a straight line through the second half of 100 looks at the memory.
 */
#include <math.h>

#include "objects.h"
#include "team.h"

enum { SAMPLES = 100 };

static unsigned threads;
static uint32_t slots;
static unsigned long milliseconds;
static struct object **all_objects; /* of each thread its slots */
static double at[SAMPLES], seen[SAMPLES];
static pthread_barrier_t all_filled;
static _Atomic bool over;
static _Atomic unsigned long all_ops;
static _Atomic int64_t all_live;

static void work(struct object **objects, uint64_t *random)
{
	unsigned long ops = 0;
	int64_t live = 0;

	for (uint32_t i = 0; i < slots; i++)
		live += object_replace(&objects[i], random_doubling(random, 16, 1 << 20), WHOLE, random);
	pthread_barrier_wait(&all_filled);
	for (; !over; ops++) {
		uint32_t slot = (uint32_t)(ops / 16 + random_below(random, slots / 4)) % slots;

		live += object_replace(&objects[slot], random_doubling(random, 16, 1 << 20), WHOLE, random);
	}
	all_ops += ops + slots;
	all_live += live;
}

static double slope(const double *x, const double *y, unsigned n)
{
	double mean_x = 0, mean_y = 0, xy = 0, xx = 0;

	for (unsigned i = 0; i < n; i++) {
		mean_x += x[i] / n;
		mean_y += y[i] / n;
	}
	for (unsigned i = 0; i < n; i++) {
		xy += (x[i] - mean_x) * (y[i] - mean_y);
		xx += (x[i] - mean_x) * (x[i] - mean_x);
	}
	return xy / xx;
}

/* Looks at the memory until it is over. */
static void watch(double seconds)
{
	uint64_t from;

	pthread_barrier_wait(&all_filled);
	from = now_ns();
	for (unsigned i = 0; i < SAMPLES; i++) {
		pause_seconds(fmax(0, seconds * (i + 1) / SAMPLES - seconds_since(from)));
		at[i] = seconds_since(from);
		seen[i] = rss();
	}
	over = true;
}

static void work_or_watch(struct member *member)
{
	if (member->number < threads)
		work(all_objects + (size_t)member->number * slots, &member->random);
	else
		watch((double)milliseconds / 1e3);
}

static void run(void)
{
	threads = (unsigned)number("threads", 2);
	slots = (uint32_t)number("slots", 1024);
	milliseconds = scaled("ms", 2000, 300);
	all_objects = table((size_t)threads * slots, sizeof(*all_objects));
	pthread_barrier_init(&all_filled, NULL, threads + 1);
	team_run(threads + 1, work_or_watch);
	report("ns_per_op", seconds_since(began.wall) * 1e9 / (double)all_ops, "lower");
	report("slope_kib_per_s", slope(at + SAMPLES / 2, seen + SAMPLES / 2, SAMPLES / 2), "none");
	stop_live(0, (uint64_t)all_live);
	objects_free(all_objects, (size_t)threads * slots, WHOLE);
	report_freed();
}

int main(int argc, char **argv)
{
	(void)argc;
	return workload_main(argv, &(struct workload){"long_mixed", NULL, run});
}
