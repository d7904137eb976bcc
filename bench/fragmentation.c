/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * fragmentation: objects of 16 bytes to 1 MiB replaced at random, some hundreds of megabytes alive. How much more is
 * resident than is alive, and how much stays when all is freed? With fill=256 programs write the beginning of their
 * objects only, with fill=0 all of them.
 */
#include "objects.h"

static const struct share mix[] = {{40, 16, 127}, {30, 256, 2047}, {20, 4096, 65536}, {10, 128 << 10, 1 << 20}};

static void run(void)
{
	size_t filled = number_or_0("fill", 256);
	uint32_t slots = (uint32_t)number("slots", 10000);
	unsigned long ops = scaled("ops", filled ? 1000000 : 150000, filled ? 200000 : 20000);
	struct object **objects = table(slots, sizeof(*objects));
	uint64_t random = FIRST_SEED;
	int64_t live = 0;

	if (!filled)
		filled = WHOLE;
	start();
	for (unsigned long i = 0; i < ops; i++) {
		struct object **slot = &objects[random_below(&random, slots)];

		live += object_replace(slot, random_size(&random, mix), filled, &random);
	}
	stop_live(ops, (uint64_t)live);
	if (objects_free(objects, slots, filled) != (uint64_t)live)
		die("some bytes are missing");
	report_freed();
}

static const char *const rows[] = {"fill=256", "fill=0", NULL};

int main(int argc, char **argv)
{
	(void)argc;
	return workload_main(argv, &(struct workload){"fragmentation", rows, run});
}
