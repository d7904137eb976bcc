/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* massive_alloc: blocks of up to 2 GiB, some of them aligned, one after the other: allocated, filled, checked, freed. */
#include "objects.h"

static const struct {
	const char *name;
	size_t mib, alignment;
} blocks[] = {
	{"256_mib_s", 256, 0},	 {"512_mib_aligned_4_kib_s", 512, 4 << 10},
	{"1024_mib_s", 1024, 0}, {"1024_mib_aligned_2_mib_s", 1024, 2 << 20},
	{"2048_mib_s", 2048, 0},
};

enum { BLOCKS = sizeof(blocks) / sizeof(*blocks) };

static void run(void)
{
	unsigned long percent = scaled("percent", 100, 3);
	double took[BLOCKS];

	start();
	for (unsigned i = 0; i < BLOCKS; i++) {
		size_t size = (blocks[i].mib << 20) / 100 * percent;
		uint64_t from = now_ns();
		void *block = blocks[i].alignment ? get_aligned(blocks[i].alignment, size) : get(size);

		fill(block, size, i);
		if (!filled_with(block, size, i))
			die("the block of %s was overwritten", blocks[i].name);
		put(block);
		took[i] = seconds_since(from);
	}
	stop(BLOCKS);
	for (unsigned i = 0; i < BLOCKS; i++)
		report(blocks[i].name, took[i], "lower");
	report_freed();
}

int main(int argc, char **argv)
{
	(void)argc;
	return workload_main(argv, &(struct workload){"massive_alloc", NULL, run});
}
