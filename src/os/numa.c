/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Nodes and CPUs through libnuma, read once.
 *
 * Loading libnuma costs 40 system calls and half a MiB, so /sys is asked first whether there is anything to learn,
 * and the shared library loads it then; the static archive is linked with it.
 */
#include <dlfcn.h>
#include <errno.h>
#include <linux/mempolicy.h>
#include <numa.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "os/kernel.h"
#include "os/os.h"

struct topology near__topology = {.nodes = 1};

enum { MASK_WORDS = 1024 / 64, DISTANCE_FAR = 255 }; /* the kernel's own bound on node numbers is 1024 */

struct libnuma {
	int (*available)(void);
	int (*max_node)(void);
	int (*num_configured_cpus)(void);
	long long (*node_size)(int, long long *);
	int (*node_of_cpu)(int);
	int (*distance)(int, int);
	struct bitmask *(*mems_allowed)(void);
	int (*is_set)(const struct bitmask *, unsigned int);
};

static uint8_t distances[64][64]; /* of the first nodes, dense; beyond them all others are equally far */

#ifdef PIC

static bool load(struct libnuma *n)
{
	void *library = dlopen("libnuma.so.1", RTLD_NOW | RTLD_LOCAL);

	if (!library)
		return false;
	*(void **)&n->available = dlsym(library, "numa_available");
	*(void **)&n->max_node = dlsym(library, "numa_max_node");
	*(void **)&n->node_size = dlsym(library, "numa_node_size64");
	*(void **)&n->node_of_cpu = dlsym(library, "numa_node_of_cpu");
	*(void **)&n->distance = dlsym(library, "numa_distance");
	*(void **)&n->mems_allowed = dlsym(library, "numa_get_mems_allowed");
	*(void **)&n->is_set = dlsym(library, "numa_bitmask_isbitset");
	return n->available && n->max_node && n->node_size && n->node_of_cpu && n->distance && n->mems_allowed &&
	       n->is_set;
}

#else

static bool load(struct libnuma *n)
{
	*n = (struct libnuma){
		.available = numa_available,
		.max_node = numa_max_node,
		.node_size = numa_node_size64,
		.node_of_cpu = numa_node_of_cpu,
		.distance = numa_distance,
		.mems_allowed = numa_get_mems_allowed,
		.is_set = numa_bitmask_isbitset,
	};
	return true;
}

#endif

bool near__numa_many_nodes(void)
{
	char list[512];

	if (near__os_read_file("/sys/devices/system/node/has_memory", list, sizeof(list)) <= 0)
		return false;
	return strpbrk(list, ",-") != NULL;
}

/* What the user set for the task wins over anything we would bind. */
static bool policy_allows(void)
{
	int policy = 0;
	long error = KERNEL(SYS_get_mempolicy, &policy, 0, 0, 0, 0);

	near__topology.policy = error ? OS_POLICY_UNKNOWN : (unsigned)policy;
	return !error && policy == MPOL_DEFAULT;
}

static unsigned nearest(const struct libnuma *n, int kernel_node)
{
	unsigned best = 0;
	int best_distance = INT32_MAX;

	for (unsigned i = 0; i < near__topology.nodes; i++) {
		int d = near__topology.kernel_node[i] == kernel_node
				? -1
				: n->distance(kernel_node, near__topology.kernel_node[i]);

		d = d ? d : DISTANCE_FAR;
		if (d < best_distance) {
			best = i;
			best_distance = d;
		}
	}
	return best;
}

static unsigned read_nodes(const struct libnuma *n)
{
	struct bitmask *allowed = n->mems_allowed();
	unsigned nodes = 0;

	for (int k = 0; k <= n->max_node() && k < MASK_WORDS * 64 && nodes < OS_MAX_NODES; k++) {
		if (n->is_set(allowed, (unsigned)k) && n->node_size(k, NULL) > 0)
			near__topology.kernel_node[nodes++] = (uint16_t)k;
	}
	free(allowed->maskp);
	free(allowed);
	return nodes;
}

bool near__numa_load(void)
{
	struct libnuma n;
	unsigned nodes, cpus = near__os_possible_cpus();

	if (!policy_allows() || !load(&n) || n.available() < 0)
		return false;
	nodes = read_nodes(&n);
	if (nodes < 2)
		return false;
	near__topology.nodes = nodes;
	for (unsigned cpu = 0; cpu < cpus; cpu++) {
		int k = n.node_of_cpu((int)cpu);

		near__topology.node_of_cpu[cpu] = k < 0 ? 0 : (uint16_t)nearest(&n, k);
	}
	for (unsigned i = 0; i < nodes && i < 64; i++) {
		for (unsigned j = 0; j < nodes && j < 64; j++) {
			int d = n.distance(near__topology.kernel_node[i], near__topology.kernel_node[j]);

			distances[i][j] = (uint8_t)(d > 0 && d < DISTANCE_FAR ? d : DISTANCE_FAR);
		}
	}
	return true;
}

int near__numa_bind(void *start, size_t bytes, unsigned node)
{
	unsigned long mask[MASK_WORDS] = {0};
	unsigned kernel_node = near__topology.kernel_node[node];

	if (near__topology.nodes < 2)
		return 0;
	mask[kernel_node / 64] = 1ul << (kernel_node % 64);
	return (int)-KERNEL(SYS_mbind, start, bytes, MPOL_PREFERRED, mask, MASK_WORDS * 64, 0);
}

static unsigned distance(unsigned from, unsigned to)
{
	if (from == to)
		return 0;
	return from < 64 && to < 64 ? distances[from][to] : DISTANCE_FAR;
}

void near__numa_order(unsigned node, uint16_t *order)
{
	/* Insertion by distance; equal ones keep the order of their numbers, counted from `node` round. */
	for (unsigned i = 0; i < near__topology.nodes; i++) {
		unsigned candidate = (node + i) % near__topology.nodes, at = i;

		for (; at > 0 && distance(node, order[at - 1]) > distance(node, candidate); at--)
			order[at] = order[at - 1];
		order[at] = (uint16_t)candidate;
	}
}
