/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* Built without liburcu: grace periods cannot be known, so what walkers may read is never unmapped. */
#include "os/os.h"

bool near__rcu_load(void)
{
	return false;
}

void near__rcu_read_lock(void)
{
}

void near__rcu_read_unlock(void)
{
}

bool near__rcu_synchronize(void)
{
	return false;
}

void near__rcu_after_fork(void)
{
}
