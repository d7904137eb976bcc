/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Budgets, and the callback of the limits.
 *
 *     percpu_cache   12 MiB for each CPU that the group may use, 256 MiB in all, a sixteenth of the group's memory; of this
 *                    each possible CPU gets the same part, 256 KiB at least and 12 MiB at most
 *     depot_cache    4 MiB for each CPU of a node, 64 MiB, a sixteenth of the group's memory by node; 1 MiB at least
 *     limit_soft     of a group with a limit of memory: 15/16 of it
 */
#include "keep/limits.h"

#include "base/conf.h"
#include "heap/limit.h"
#include "os/os.h"

#define PERCPU_LEAST (256 * KIB)
#define PERCPU_MOST  (12 * MIB)
#define PERCPU_ALL   (256 * MIB)
#define DEPOT_LEAST  (1 * MIB)
#define DEPOT_PER_CPU (4 * MIB)
#define DEPOT_MOST   (64 * MIB)

enum { MEMORY_SHARE = 16 };

static uint64_t share(uint64_t most, uint64_t memory)
{
	return memory ? size_min(most, memory / MEMORY_SHARE) : most;
}

void near__limits_derive(void)
{
	static bool begun;
	struct os_cgroup group;
	uint64_t cpus, all, depot;

	if (load_relaxed(&begun) || __atomic_test_and_set(&begun, __ATOMIC_RELAXED))
		return;
	group = near__os_cgroup();
	cpus = group.cpus ? size_min(group.cpus, near__cpus) : near__cpus;
	all = share(size_min(PERCPU_ALL, cpus * PERCPU_MOST), group.memory);
	if (!near__conf.percpu_cache)
		store_relaxed(&near__percpu_budget,
			      size_max(PERCPU_LEAST, size_min(PERCPU_MOST, all / near__cpus)));
	depot = size_min(DEPOT_MOST, DEPOT_PER_CPU * size_max(1, cpus / near__nodes));
	if (!near__conf.depot_cache)
		store_relaxed(&near__depot_budget, size_max(DEPOT_LEAST, share(depot, group.memory / near__nodes)));
	if (!near__conf.limit_soft && group.memory)
		near__limit_soft(group.memory - group.memory / MEMORY_SHARE);
}

/* ---- the callback ----------------------------------------------------------------------------------- */

static struct {
	limit_callback *call;
	void *argument;
} told;

static bool telling; /* what the callback allocates does not call it again */

void near__limits_callback(limit_callback *callback, void *argument)
{
	store_release(&told.call, NULL);
	store_relaxed(&told.argument, argument);
	store_release(&told.call, callback);
}

/* In the child of a fork: another thread of the parent may have been in the callback. */
void near__limits_after_fork(void)
{
	__atomic_clear(&telling, __ATOMIC_RELEASE);
	near__limit_after_fork();
}

void near__limits_tell(size_t wanted)
{
	limit_callback *call = load_acquire(&told.call);
	int which = near__limit_reached();

	if (!which || !call || __atomic_test_and_set(&telling, __ATOMIC_ACQUIRE))
		return;
	call(which, near__limit_footprint(), wanted, load_relaxed(&told.argument));
	__atomic_clear(&telling, __ATOMIC_RELEASE);
}
