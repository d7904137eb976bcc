/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* How much caches may hold, and what happens at the limits of the process. */
#ifndef NEAR_KEEP_LIMITS_H
#define NEAR_KEEP_LIMITS_H

#include "cache/cache.h"

/*
 * Derives the budgets that no option gives from the CPUs and from the limits of the control group; once, by whoever comes
 * first. Before that they are small. May be called from signal handlers.
 */
void near__limits_derive(void);

/* Calls back, if the program asked for it, because a limit was reached. No lock may be held. */
void near__limits_tell(size_t wanted);

typedef void limit_callback(int which, size_t footprint, size_t wanted, void *argument);
void near__limits_after_fork(void);
void near__limits_callback(limit_callback *callback, void *argument);

#endif
