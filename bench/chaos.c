/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * chaos: thousands of blocks of 32 KiB to 1 MiB, each filled; then all freed in random order. 2 GiB in all;
 * count=20000 makes it 10.
 */
#include "objects.h"

static void run(void)
{
	uint32_t count = (uint32_t)scaled("count", 4000, 400);
	struct object **objects = table(count, sizeof(*objects));
	uint64_t random = FIRST_SEED, from;
	size_t bytes = 0;
	double allocating, freeing;

	start();
	from = now_ns();
	for (uint32_t i = 0; i < count; i++) {
		size_t size = random_between(&random, 32 << 10, 1 << 20);

		objects[i] = object_new(size, WHOLE, &random);
		bytes += size;
	}
	allocating = seconds_since(from);
	shuffle((void **)objects, count, &random);
	from = now_ns();
	if (objects_free(objects, count, WHOLE) != bytes)
		die("some bytes are missing");
	freeing = seconds_since(from);
	stop(count);
	report("allocating_s", allocating, "lower");
	report("freeing_s", freeing, "lower");
	report("bytes", (double)bytes, "none");
	report_freed();
}

int main(int argc, char **argv)
{
	(void)argc;
	return workload_main(argv, &(struct workload){"chaos", NULL, run});
}
