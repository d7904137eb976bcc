/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* Built without libnuma: one node. */
#include "os/os.h"

struct topology near__topology = {.nodes = 1};

bool near__numa_many_nodes(void)
{
	return false;
}

bool near__numa_load(void)
{
	return false;
}

int near__numa_bind(void *start, size_t bytes, unsigned node)
{
	(void)start, (void)bytes, (void)node;
	return 0;
}

void near__numa_order(unsigned node, uint16_t *order)
{
	order[0] = (uint16_t)node;
}
