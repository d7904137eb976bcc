/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* small_million: a million objects of 16 bytes. What does one of them take, and what stays when they are freed? */
#include "objects.h"

static void run(void)
{
	unsigned long count = number("count", 1000000);
	size_t size = number("size", 16);
	struct object **objects = table(count, sizeof(*objects));
	uint64_t random = FIRST_SEED;

	start();
	for (unsigned long i = 0; i < count; i++)
		objects[i] = object_new(size, WHOLE, &random);
	stop_live(count, count * size);
	report("bytes_per_object", (rss() - began.rss) * 1024 / (double)count, "lower");
	objects_free(objects, count, WHOLE);
	report_freed();
}

int main(int argc, char **argv)
{
	(void)argc;
	return workload_main(argv, &(struct workload){"small_million", NULL, run});
}
