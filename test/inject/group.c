/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * For a control group with 96 MiB of memory: five sixths of them in use, time and again in blocks of another size. What was
 * freed of the size before must be given back before there is room for the next, or the kernel ends the process.
 */
#include <stdlib.h>
#include <string.h>

#include "check.h"

enum { LIVE = 80 << 20, ROUNDS = 4 };

static void fill_and_free(size_t size)
{
	size_t n = LIVE / size;
	char **blocks = calloc(n, sizeof(*blocks));

	CHECK(blocks);
	for (size_t i = 0; i < n; i++) {
		blocks[i] = malloc(size);
		CHECK(blocks[i]);
		memset(blocks[i], (int)i, size);
	}
	for (size_t i = 0; i < n; i++) {
		CHECK(blocks[i][0] == (char)i && blocks[i][size - 1] == (char)i);
		free(blocks[i]);
	}
	free(blocks);
}

int main(void)
{
	static const size_t sizes[] = {512, 48 << 10, 3000, 700 << 10, 8 << 20};

	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
			fill_and_free(sizes[i]);
	}
	return 0;
}
