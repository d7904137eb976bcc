/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * phases: a program whose objects change their size from phase to phase. Each phase allocates the same amount in
 * objects of one size, and then frees all but a few, chosen at random, which live to the end. What does a size class
 * keep that the next one could use? rss_N and live_N are of the end of each phase.
 */
#include "objects.h"

static const size_t sizes[] = {32, 1024, 96, 4096, 256, 48, 640, 16384};

enum { PHASES = sizeof(sizes) / sizeof(*sizes) };

/* Allocates, keeps survivors at the head of the table, and returns how many those are. */
static size_t phase(struct object **objects, size_t n, size_t size, unsigned percent, uint64_t *random)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++)
		objects[i] = object_new(size, WHOLE, random);
	for (size_t i = 0; i < n; i++) {
		if (random_below(random, 100) < percent)
			objects[kept++] = objects[i];
		else
			object_free(objects[i], WHOLE);
	}
	return kept;
}

/* For the objects of any phase, and one percent more survivors than there should be. */
static size_t room_for(size_t bytes, unsigned percent)
{
	size_t all = 0, most = 0;

	for (unsigned i = 0; i < PHASES; i++) {
		all += bytes / sizes[i];
		most = bytes / sizes[i] > most ? bytes / sizes[i] : most;
	}
	return most + all * (percent + 1) / 100 + PHASES;
}

static void run(void)
{
	size_t bytes = scaled("mib", 32, 8) << 20, kept = 0, live = 0;
	unsigned percent = (unsigned)number_or_0("survivors", 5);
	struct object **objects = table(room_for(bytes, percent), sizeof(*objects));
	double resident[PHASES], alive[PHASES];
	uint64_t random = FIRST_SEED;
	unsigned long ops = 0;

	start();
	for (unsigned i = 0; i < PHASES; i++) {
		size_t n = bytes / sizes[i], survivors = phase(objects + kept, n, sizes[i], percent, &random);

		kept += survivors;
		live += survivors * sizes[i];
		ops += n;
		resident[i] = rss();
		alive[i] = (double)live / 1024;
	}
	stop_live(ops, live);
	for (unsigned i = 0; i < PHASES; i++) {
		report_numbered("rss_%u", i + 1, resident[i], "lower");
		report_numbered("live_%u_kib", i + 1, alive[i], "none");
	}
	objects_free(objects, kept, WHOLE);
	report_freed();
}

int main(int argc, char **argv)
{
	(void)argc;
	return workload_main(argv, &(struct workload){"phases", NULL, run});
}
