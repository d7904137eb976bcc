/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Walkers, and those who unmap. The count tells at once that there is nobody to wait for; liburcu does the waiting.
 *
 * Edge: W0, the fetch-add of a walker that comes, and W1, the fence of who has hidden something and now unmaps it, are
 * both of sequential consistency: either the walker is seen, or the walker sees that it was hidden.
 */
#include "base/atomic.h"
#include "os/os.h"

static long walkers;

void near__walk_begin(void)
{
	near__rcu_load();
	fetch_add_seq_cst(&walkers, 1l); /* W0 */
	near__rcu_read_lock();
}

void near__walk_end(void)
{
	near__rcu_read_unlock();
	fetch_sub_seq_cst(&walkers, 1l);
}

bool near__walk_none(void)
{
	fence_seq_cst(); /* W1 */
	return load_acquire(&walkers) == 0;
}

bool near__walk_left(void)
{
	return near__walk_none() || near__rcu_synchronize();
}
