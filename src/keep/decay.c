/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Decay: slow paths look at the clock now and then, and the first to find that the time has come does the work.
 */
#include "keep/decay.h"

#include "base/conf.h"
#include "os/os.h"

static uint64_t due; /* in milliseconds of the clock; 0: not set yet */

void near__decay(void)
{
	uint64_t now = near__os_milliseconds(), when = load_relaxed(&due), next;

	if (now < when)
		return;
	if (__builtin_add_overflow(now, near__conf.decay_ms, &next))
		next = UINT64_MAX;
	if (!cas_relaxed(&due, &when, next))
		return;
	if (when)
		near__drain_idle();
}
