/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* All memory of the allocator, range by range, and how much of it is resident. */
#ifndef NEAR_WATCH_WALK_H
#define NEAR_WATCH_WALK_H

#include "near/malloc.h"

/* See near_walk and near_residence. */
int near__walk(int (*visit)(const struct near_range *range, void *argument), void *argument);
int near__residence(struct near_residence *out);

#endif
