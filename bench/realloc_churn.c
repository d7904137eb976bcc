/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * realloc_churn: objects are filled, resized to twice their size, checked, filled again, and freed later, when some
 * others have come: small ones, and large ones, which need not be copied at all. realloc_* is the time of the call
 * alone, in_place how many percent stayed where they were.
 */
#include "latency.h"
#include "objects.h"

enum { WINDOW = 64 }; /* so many live on behind the one that is resized */

static void run(void)
{
	static const char *const words[] = {"small", "large", NULL};
	static void *window[WINDOW];
	bool large = choice("objects", words);
	unsigned long ops = scaled("ops", large ? 10000 : 500000, large ? 1000 : 100000), stayed = 0;
	size_t most = large ? 320 << 10 : 4159;
	struct latency *resized = latency_new();
	uint64_t random = FIRST_SEED;

	latency_prepare();
	start();
	for (unsigned long i = 0; i < ops; i++) {
		size_t size = random_between(&random, 64, most);
		char *old = get(size), *new;
		uintptr_t place = (uintptr_t)old;
		uint64_t from;

		fill(old, size, i);
		from = ticks();
		new = bench_realloc(old, 2 * size);
		latency_add(resized, from, ticks());
		if (!filled_with(checked(new, 2 * size, 16), size, i))
			die("resizing %zu bytes lost some", size);
		stayed += (uintptr_t) new == place;
		fill(new, 2 * size, i);
		put(window[i % WINDOW]);
		window[i % WINDOW] = new;
	}
	stop(ops);
	latency_report("realloc", resized);
	report("in_place_percent", 100.0 * (double)stayed / (double)ops, "higher");
	for (unsigned i = 0; i < WINDOW; i++)
		put(window[i]);
	report_freed();
}

static const char *const rows[] = {"objects=small", "objects=large", NULL};

int main(int argc, char **argv)
{
	(void)argc;
	return workload_main(argv, &(struct workload){"realloc_churn", rows, run});
}
