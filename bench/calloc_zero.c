/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * calloc_zero: memory that must be zero. Cold, blocks that are fresh from the kernel and so are zero already: they
 * should cost neither time nor memory as long as nobody writes there. Hot, objects that were written before.
 */
#include "objects.h"

static void cold(void)
{
	unsigned long count = scaled("count", 512, 128);
	size_t size = number("size", 1 << 20);
	char **blocks = table(count, sizeof(*blocks));

	start();
	for (unsigned long i = 0; i < count; i++)
		blocks[i] = get_zeroed(size);
	stop_live(count, count * size);
	for (unsigned long i = 0; i < count; i++) {
		if (!all_zero(blocks[i], size))
			die("%zu bytes of calloc are not zero", size);
		put(blocks[i]);
	}
}

static void hot(void)
{
	uint32_t slots = (uint32_t)number("slots", 1000);
	size_t most = number("most", 16384);
	unsigned long ops = most > 1024 ? scaled("ops", 500000, 100000) : scaled("ops", 5000000, 1000000);
	struct object **objects = table(slots, sizeof(*objects));
	uint64_t random = FIRST_SEED;

	start();
	for (unsigned long i = 0; i < ops; i++) {
		struct object **slot = &objects[random_below(&random, slots)];
		size_t size = random_between(&random, 16, most);

		object_free(*slot, WHOLE);
		*slot = get_zeroed(size);
		if (!all_zero(*slot, size))
			die("%zu bytes of calloc are not zero", size);
		object_in(*slot, size, WHOLE, &random);
	}
	stop(ops);
	objects_free(objects, slots, WHOLE);
}

static void run(void)
{
	static const char *const words[] = {"cold", "hot", NULL};

	if (choice("memory", words))
		hot();
	else
		cold();
}

static const char *const rows[] = {"memory=cold", "memory=hot", "memory=hot most=256", NULL};

int main(int argc, char **argv)
{
	(void)argc;
	return workload_main(argv, &(struct workload){"calloc_zero", rows, run});
}
