/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * bases: one line with the addresses of a chunk of small blocks, of a large block and of metadata, as hexadecimal
 * numbers; bases.sh compares those of many runs.
 */
#include "check.h"
#include "near/malloc.h"
#include "names.h"

extern int near_walk(int (*visit)(const struct near_range *range, void *argument), void *argument) WEAK;

static int find_metadata(const struct near_range *range, void *found)
{
	*(uintptr_t *)found = (uintptr_t)range->start;
	return range->kind == NEAR_RANGE_METADATA;
}

int main(void)
{
	uintptr_t small = (uintptr_t)opaque(malloc(100)), large = (uintptr_t)opaque(malloc(1536 << 10)), metadata = 0;
	char line[100];

	if (near_walk == NULL)
		skip("not under nearmalloc");
	CHECK(near_walk(find_metadata, &metadata) == 1);
	snprintf(line, sizeof(line), "%lx %lx %lx\n", small, large, metadata);
	say(1, line);
	return 0;
}
