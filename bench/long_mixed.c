/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * long_mixed: sizes from 16 bytes to 1 MiB, every doubling as likely as another: all slots are filled, then replaced in
 * a part of them that moves on slowly, so that some objects become old. Runs for --seconds (4); to see whether memory
 * creeps, minutes or hours. slope is that of a straight line through the second half of 100 looks at the memory.
 */
#include <math.h>

#include "objects.h"
#include "team.h"

enum { SAMPLES = 100 };

static unsigned threads;
static uint32_t slots;
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

/* Waits until it is over, and reports. */
static void watch(double seconds)
{
	static double at[SAMPLES], seen[SAMPLES];
	uint64_t from;

	pthread_barrier_wait(&all_filled);
	from = now_ns();
	for (unsigned i = 0; i < SAMPLES; i++) {
		pause_seconds(fmax(0, seconds * (i + 1) / SAMPLES - seconds_since(from)));
		at[i] = seconds_since(from);
		seen[i] = rss();
	}
	over = true;
	for (unsigned i = SAMPLES / 10; i <= SAMPLES; i += SAMPLES / 10) {
		char metric[32];

		snprintf(metric, sizeof(metric), "rss_%u", i * 100 / SAMPLES);
		figure(metric, seen[i - 1], "KiB");
	}
	figure("slope", slope(at + SAMPLES / 2, seen + SAMPLES / 2, SAMPLES / 2), "KiB/s");
}

static void work_or_watch(struct member *member)
{
	if (member->number < threads)
		work(table(slots, sizeof(struct object *)), &member->random);
	else
		watch(run_seconds > 0 ? run_seconds : quick ? 0.5 : 4);
}

static void run(void)
{
	threads = (unsigned)number("threads", 2);
	slots = (uint32_t)number("slots", 1024);
	pthread_barrier_init(&all_filled, NULL, threads + 1);
	team_run(threads + 1, work_or_watch);
	stop_live(all_ops, (uint64_t)all_live);
}

int main(int argc, char **argv)
{
	(void)argc;
	return workload_main(argv, &(struct workload){"long_mixed", NULL, run});
}
