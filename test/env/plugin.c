/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* A shared object that allocates when it is loaded, frees when it is unloaded, and hands blocks out between. */
#include "shadow.h"

static struct block own[16];

__attribute__((constructor)) static void load(void)
{
	for (unsigned i = 0; i < 16; i++) {
		own[i] = (struct block){.size = 10 + 5000 * i};
		own[i].ptr = malloc(own[i].size);
		CHECK(own[i].ptr != NULL);
		block_fill(&own[i], i);
	}
}

__attribute__((destructor)) static void unload(void)
{
	for (unsigned i = 0; i < 16; i++) {
		block_verify(&own[i]);
		free(own[i].ptr);
	}
}

void *plugin_make(size_t size);
void plugin_drop(void *ptr);
void plugin_work(unsigned seed);

void *plugin_make(size_t size)
{
	return malloc(size);
}

void plugin_drop(void *ptr)
{
	free(ptr);
}

void plugin_work(unsigned seed)
{
	struct shadow s;

	shadow_open(&s, 100, 200000, seed);
	shadow_steps(&s, 1000);
	shadow_close(&s);
}
