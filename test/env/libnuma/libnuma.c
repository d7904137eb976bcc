/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * A libnuma that tells of MADE_UP_NODES nodes, to be found before the real one: CPUs are dealt out to them in turn. The
 * kernel refuses to bind memory to those that are not there, which does no harm. Not with test/env/?*.c, because it is
 * no program.
 */
#include <stdlib.h>

struct bitmask {
	unsigned long size, *maskp;
};

static int nodes(void)
{
	const char *number = getenv("MADE_UP_NODES");

	return number != NULL ? atoi(number) : 1;
}

int numa_available(void)
{
	return 0;
}

int numa_max_node(void)
{
	return nodes() - 1;
}

long long numa_node_size64(int node, long long *free_bytes)
{
	(void)node, (void)free_bytes;
	return 1ll << 30;
}

int numa_node_of_cpu(int cpu)
{
	return cpu % nodes();
}

int numa_distance(int from, int to)
{
	return from == to ? 10 : 20 + (from > to ? from - to : to - from) % 200;
}

struct bitmask *numa_get_mems_allowed(void)
{
	struct bitmask *all = malloc(sizeof(*all));

	all->size = 1024;
	all->maskp = calloc(16, sizeof(long));
	return all;
}

int numa_bitmask_isbitset(const struct bitmask *mask, unsigned int node)
{
	(void)mask;
	return node < (unsigned)nodes();
}

void numa_bitmask_free(struct bitmask *mask)
{
	free(mask->maskp);
	free(mask);
}
