/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * kv_store: a store of keys and values: 60 % SET, 30 % GET, 10 % DEL over slots at random. SET frees the old pair and
 * allocates and fills another; GET reads all of key and value.
 */
#include "objects.h"

static const struct share value_mix[] = {{30, 16, 63}, {40, 128, 511}, {20, 1024, 4096}, {10, 8192, 65536}};

struct pair {
	struct object *key, *value;
};

static void pair_check(const struct pair *pair)
{
	if (pair->key) {
		object_check(pair->key, WHOLE);
		object_check(pair->value, WHOLE);
	}
}

/* Returns how many bytes less are alive. */
static size_t pair_free(struct pair *pair)
{
	size_t bytes = object_free(pair->key, WHOLE) + object_free(pair->value, WHOLE);

	pair->key = pair->value = NULL;
	return bytes;
}

static size_t pair_new(struct pair *pair, uint64_t *random)
{
	size_t key = random_between(random, 8, 64), value = random_size(random, value_mix);

	pair->key = object_new(key, WHOLE, random);
	pair->value = object_new(value, WHOLE, random);
	return key + value;
}

static void run(void)
{
	uint32_t slots = (uint32_t)number("slots", 100000);
	unsigned long ops = scaled("ops", 1000000, 200000);
	struct pair *pairs = table(slots, sizeof(*pairs));
	uint64_t random = FIRST_SEED;
	size_t live = 0;

	start();
	for (unsigned long i = 0; i < ops; i++) {
		struct pair *pair = &pairs[random_below(&random, slots)];
		uint32_t percent = random_below(&random, 100);

		if (percent < 30) {
			pair_check(pair);
			continue;
		}
		live -= pair_free(pair);
		if (percent >= 40)
			live += pair_new(pair, &random);
	}
	stop_live(ops, live);
	for (uint32_t i = 0; i < slots; i++)
		live -= pair_free(&pairs[i]);
	if (live)
		die("%zu bytes are missing", live);
	report_freed();
}

int main(int argc, char **argv)
{
	(void)argc;
	return workload_main(argv, &(struct workload){"kv_store", NULL, run});
}
