/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * micro_burst: nothing for half a second, then 50,000 objects of 256 bytes at once, all freed; then the same again
 * without a rest. cold and warm are ns per object, allocated, touched and freed, the medians of all bursts.
 */
#include "objects.h"

enum { MOST_BURSTS = 1000 };

static void **objects;
static unsigned long count;
static size_t size;

static double burst(void)
{
	uint64_t from = now_ns();

	for (unsigned long i = 0; i < count; i++) {
		objects[i] = get(size);
		touch(objects[i], size);
	}
	for (unsigned long i = 0; i < count; i++)
		put(objects[i]);
	return seconds_since(from) * 1e9 / (double)count;
}

static void run(void)
{
	static double cold[MOST_BURSTS], warm[MOST_BURSTS], ratio[MOST_BURSTS];
	unsigned bursts = (unsigned)scaled("bursts", 10, 4);
	double rest = (double)scaled("rest_ms", 500, 50) / 1e3, first;

	count = number("count", 50000);
	size = number("size", 256);
	objects = table(count, sizeof(*objects));
	if (bursts > MOST_BURSTS)
		die("no such number of bursts");
	start();
	first = burst();
	for (unsigned i = 0; i < bursts; i++) {
		pause_seconds(rest);
		cold[i] = burst();
		warm[i] = burst();
		ratio[i] = cold[i] / warm[i];
	}
	report("cold_ns", median(cold, bursts), "lower");
	report("warm_ns", median(warm, bursts), "lower");
	report("cold_over_warm", median(ratio, bursts), "lower");
	report("first_ns", first, "lower");
	stop((2 * bursts + 1) * count);
	report_freed();
}

int main(int argc, char **argv)
{
	(void)argc;
	return workload_main(argv, &(struct workload){"micro_burst", NULL, run});
}
