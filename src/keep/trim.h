/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* Giving back everything that is free, now. */
#ifndef NEAR_KEEP_TRIM_H
#define NEAR_KEEP_TRIM_H

#include <stddef.h>

/* Keeps about `keep` bytes of free memory. Returns bytes given to the kernel. Waits for locks, allocates nothing. */
size_t near__trim(size_t keep);

/* The same, and unmaps what is wholly free: for when an allocation has just failed. */
void near__trim_address_space(void);

#endif
