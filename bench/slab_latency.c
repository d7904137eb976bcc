/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * slab_latency: a million objects of 64 bytes allocated one after the other and never touched, then freed in the same
 * order. malloc and free are ns per call: first of fresh memory, then the median of all rounds.
 */
#include "objects.h"

enum { MOST_ROUNDS = 1000 };

static void run(void)
{
	static double got[MOST_ROUNDS], freed[MOST_ROUNDS];
	unsigned rounds = (unsigned)scaled("rounds", 20, 3);
	unsigned long count = number("count", 1000000), warmup = number_or_0("warmup", 10000);
	size_t size = number("size", 64);
	void **objects = table(count, sizeof(*objects));

	if (rounds > MOST_ROUNDS)
		die("no such number of rounds");
	for (unsigned long i = 0; i < warmup; i++)
		put(get(size));
	start();
	for (unsigned i = 0; i < rounds; i++) {
		uint64_t from = now_ns();

		for (unsigned long j = 0; j < count; j++)
			objects[j] = get(size);
		got[i] = seconds_since(from) * 1e9 / (double)count;
		from = now_ns();
		for (unsigned long j = 0; j < count; j++)
			put(objects[j]);
		freed[i] = seconds_since(from) * 1e9 / (double)count;
	}
	stop(2 * count * rounds);
	report("malloc_first_ns", got[0], "lower");
	report("free_first_ns", freed[0], "lower");
	report("malloc_ns", median(got, rounds), "lower");
	report("free_ns", median(freed, rounds), "lower");
}

int main(int argc, char **argv)
{
	(void)argc;
	return workload_main(argv, &(struct workload){"slab_latency", NULL, run});
}
