/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* Giving back everything that is free, now. */
#ifndef NEAR_KEEP_TRIM_H
#define NEAR_KEEP_TRIM_H

#include <stdbool.h>
#include <stddef.h>

/* Keeps about `keep` bytes of free memory. Returns bytes given to the kernel. Waits for locks, allocates nothing. */
size_t near__trim(size_t keep);

/*
 * The same, and unmaps what is wholly free: for when an allocation of this size has just failed. False, and nothing
 * done, when heap and kernel together do not have that much, so that a hopeless wish does not cost the caches.
 */
bool near__trim_for(size_t size);

#endif
