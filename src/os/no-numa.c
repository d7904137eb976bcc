/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* Built without libnuma: one node. */
#include "os/os.h"

bool near__numa_load(void)
{
	return false;
}

int near__numa_bind(void *start, size_t bytes, unsigned node)
{
	(void)start, (void)bytes, (void)node;
	return 0;
}

int near__numa_move(void *start, size_t bytes, unsigned node)
{
	return near__numa_bind(start, bytes, node);
}

int near__numa_claim(void *start, size_t bytes, unsigned node)
{
	return near__numa_bind(start, bytes, node);
}
