/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * The machine's nodes through libnuma, read once, and memory bound to them.
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

#include "base/atomic.h"
#include "base/bits.h"
#include "base/conf.h"
#include "os/kernel.h"
#include "os/os.h"

#define MPOL_NONE 0 /* no flags */
#define MODE_FLAGS 0xe000 /* get_mempolicy adds them to the policy: static and relative nodes, balancing */

static struct {
	int (*available)(void);
	int (*max_node)(void);
	long long (*node_size)(int, long long *);
	int (*node_of_cpu)(int);
	int (*distance)(int, int);
	struct bitmask *(*mems_allowed)(void);
	void (*free_mask)(struct bitmask *);
	int (*is_set)(const struct bitmask *, unsigned int);
} libnuma;

static struct bitmask *mems_allowed;

#ifdef PIC

static bool load_library(void)
{
	void *library = dlopen("libnuma.so.1", RTLD_NOW | RTLD_LOCAL);

	if (!library)
		return false;
	*(void **)&libnuma.available = dlsym(library, "numa_available");
	*(void **)&libnuma.max_node = dlsym(library, "numa_max_node");
	*(void **)&libnuma.node_size = dlsym(library, "numa_node_size64");
	*(void **)&libnuma.node_of_cpu = dlsym(library, "numa_node_of_cpu");
	*(void **)&libnuma.distance = dlsym(library, "numa_distance");
	*(void **)&libnuma.mems_allowed = dlsym(library, "numa_get_mems_allowed");
	*(void **)&libnuma.free_mask = dlsym(library, "numa_bitmask_free");
	*(void **)&libnuma.is_set = dlsym(library, "numa_bitmask_isbitset");
	return libnuma.available && libnuma.max_node && libnuma.node_size && libnuma.node_of_cpu && libnuma.distance &&
	       libnuma.mems_allowed && libnuma.free_mask && libnuma.is_set;
}

#else

extern void numa_init(void) WEAK;

static bool load_library(void)
{
	/* Its constructor, which does nothing the second time, comes after ours, and before it libnuma aborts. */
	if (numa_init)
		numa_init();
	libnuma.available = numa_available;
	libnuma.max_node = numa_max_node;
	libnuma.node_size = numa_node_size64;
	libnuma.node_of_cpu = numa_node_of_cpu;
	libnuma.distance = numa_distance;
	libnuma.mems_allowed = numa_get_mems_allowed;
	libnuma.free_mask = numa_bitmask_free;
	libnuma.is_set = numa_bitmask_isbitset;
	return true;
}

#endif

/* ---- what the user said ---------------------------------------------------------------------------- */

/* What the user set for the task wins over anything we would bind. */
static bool policy_allows(void)
{
	int policy = 0;
	long error = KERNEL(SYS_get_mempolicy, &policy, 0, 0, 0, 0);

	policy &= ~MODE_FLAGS;
	near__topology.policy = error ? OS_POLICY_UNKNOWN : (unsigned)policy;
	return !error && policy == MPOL_DEFAULT;
}

static int bind_by_kernel(void *start, size_t bytes, int policy, unsigned node, unsigned flags)
{
	unsigned long mask[OS_NODE_NUMBERS / 64] = {0};

	mask[node / 64] = 1ul << (node % 64);
	/* The kernel takes one off. */
	return (int)-KERNEL(SYS_mbind, start, bytes, policy, mask, OS_NODE_NUMBERS + 1, flags);
}

int (*near__numa_mbind)(void *, size_t, int, unsigned, unsigned) = bind_by_kernel;

/* Sandboxes let get_mempolicy pass and refuse mbind. */
static bool may_bind(void)
{
	void *page = near__os_map(near__os_page_size, near__os_page_size);
	int error;

	if (!page)
		return false;
	error = near__numa_mbind(page, near__os_page_size, MPOL_PREFERRED, near__topology.kernel_node[0], MPOL_NONE);
	near__os_discard(page, near__os_page_size);
	if (error)
		near__topology.policy = OS_POLICY_UNKNOWN;
	return !error;
}

/* ---- the machine ----------------------------------------------------------------------------------- */

static bool has_memory(int node)
{
	return libnuma.is_set(mems_allowed, (unsigned)node) && libnuma.node_size(node, NULL) > 0;
}

static struct os_machine machine_of_libnuma(void)
{
	return (struct os_machine){
		.nodes = (unsigned)libnuma.max_node() + 1,
		.cpus = near__os_possible_cpus(),
		.has_memory = has_memory,
		.node_of_cpu = libnuma.node_of_cpu,
		.distance = libnuma.distance,
	};
}

bool near__numa_load(void)
{
	struct os_machine machine;
	bool keep;

	if (!policy_allows() || !load_library() || libnuma.available() < 0 || libnuma.max_node() < 0)
		return false;
	mems_allowed = libnuma.mems_allowed();
	machine = machine_of_libnuma();
	keep = near__numa_arrange(&machine, near__conf.nodes) && may_bind();
	libnuma.free_mask(mems_allowed); /* its malloc need not be ours */
	return keep;
}

/* ---- binding --------------------------------------------------------------------------------------- */

static int prefer(void *start, size_t bytes, unsigned node, unsigned flags)
{
	if (!near__topology.bound)
		return 0;
	return near__numa_mbind(start, bytes, MPOL_PREFERRED, near__topology.kernel_node[node], flags);
}

int near__numa_move(void *start, size_t bytes, unsigned node)
{
	return prefer(start, bytes, node, MPOL_MF_MOVE);
}

int near__numa_bind(void *start, size_t bytes, unsigned node)
{
	int error = prefer(start, bytes, node, MPOL_MF_STRICT);

	/* After mlockall(MCL_FUTURE) a new mapping is resident. To move it disturbs all CPUs, so only then. */
	return error == EIO ? near__numa_move(start, bytes, node) : error;
}

enum { CLAIM_BYTES = 16 << 20 };

static int claim_piece(void *start, size_t bytes, unsigned number)
{
	int error = near__numa_mbind(start, bytes, MPOL_PREFERRED, number, MPOL_NONE);

	if (!error)
		error = near__os_populate(start, bytes);
	if (!error)
		error = near__numa_mbind(start, bytes, MPOL_BIND, number, MPOL_MF_STRICT);
	if (error == EIO) /* only now, for it disturbs all CPUs */
		error = near__numa_mbind(start, bytes, MPOL_BIND, number, MPOL_MF_MOVE | MPOL_MF_STRICT);
	return error;
}

/*
 * A fault in a mapping that is bound strictly would have the kernel kill somebody for want of memory. So the pages are
 * first had from anywhere; moving what came from elsewhere then fails without harm. By pieces, so that a wish beyond the
 * node's memory does not use up that of all others first.
 */
int near__numa_claim(void *start, size_t bytes, unsigned node)
{
	unsigned number = near__topology.kernel_node[node];
	int error = 0;

	if (!near__topology.strict)
		return 0;
	for (size_t at = 0; at < bytes && !error; at += CLAIM_BYTES)
		error = claim_piece((char *)start + at, size_min(CLAIM_BYTES, bytes - at), number);
	if (error && near__os_purge(start, bytes))
		memset(start, 0, bytes); /* the program has locked it: so it is resident */
	return error;
}
