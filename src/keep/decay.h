/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* What becomes of free memory that nobody uses for a while. */
#ifndef NEAR_KEEP_DECAY_H
#define NEAR_KEEP_DECAY_H

#include "cache/cache.h"

enum { DECAY_CALLS = 64 }; /* slow calls on a CPU between two looks at the clock */

/* Does what is due, seldom. No lock may be held. */
void near__decay(void);

/* Call on slow paths. On one node there is nothing to send home. */
ALWAYS_INLINE void decay_tick(struct cpu_table *table)
{
	uint32_t ticks = load_relaxed(&table->ticks) + 1;

	if (near__nodes < 2)
		return;
	store_relaxed(&table->ticks, ticks);
	if (unlikely(ticks % DECAY_CALLS == 0))
		near__decay();
}

#endif
