/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Walkers, and those who unmap. A list of the walking threads tells at once whether there is somebody to wait for;
 * liburcu does the waiting.
 *
 * Edge: W0, the fence of a walker that comes, and W1, that of who has hidden something and now unmaps it, are both of
 * sequential consistency: either the walker is seen, or the walker sees that it was hidden.
 */
#include "base/lock.h"
#include "os/kernel.h"
#include "os/os.h"

enum { WALKERS_MOST = 32 };

static uint32_t walkers[WALKERS_MOST]; /* as in locks, one for each walk, or with UNKNOWN; 0: none */

#define UNKNOWN 1u /* to liburcu, which could not be loaded, or in the child of a fork: nobody can wait for it */

static uint32_t walker(bool known)
{
	return lock_self() | (known ? 0 : UNKNOWN);
}

static bool replace(uint32_t one, uint32_t other)
{
	for (unsigned i = 0; i < WALKERS_MOST; i++) {
		uint32_t seen = one;

		if (load_relaxed(&walkers[i]) == one && cas_acq_rel(&walkers[i], &seen, other))
			return true;
	}
	return false;
}

bool near__walk_begin(void)
{
	bool known = near__rcu_load();

	while (!replace(0, walker(known))) /* more walks at once than there should be */
		KERNEL(SYS_sched_yield);
	fence_seq_cst(); /* W0 */
	if (known)
		near__rcu_read_lock();
	return known;
}

void near__walk_end(bool known)
{
	if (known)
		near__rcu_read_unlock();
	replace(walker(known), 0);
}

bool near__walk_none(void)
{
	uint32_t any = 0;

	fence_seq_cst(); /* W1 */
	for (unsigned i = 0; i < WALKERS_MOST; i++)
		any |= load_acquire(&walkers[i]);
	return !any;
}

bool near__walk_inside(void)
{
	bool inside = false;

	for (unsigned i = 0; i < WALKERS_MOST; i++)
		inside |= (load_relaxed(&walkers[i]) & ~UNKNOWN) == lock_self();
	return inside;
}

static bool all_known(void)
{
	uint32_t any = 0;

	for (unsigned i = 0; i < WALKERS_MOST; i++)
		any |= load_relaxed(&walkers[i]) & UNKNOWN;
	return !any;
}

bool near__walk_left(void)
{
	return near__walk_none() || (!near__walk_inside() && all_known() && near__rcu_synchronize());
}

void near__walk_after_fork(void)
{
	for (unsigned i = 0; i < WALKERS_MOST; i++) {
		if (walkers[i] && !lock_is_survivors(&(struct lock){walkers[i]}))
			store_relaxed(&walkers[i], 0u);
	}
	near__rcu_after_fork();
}
