/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* What the lines that moved between CPUs belong to. */
#ifndef NEAR_TEST_SITES_H
#define NEAR_TEST_SITES_H

#include <stdint.h>

/* After sim_run. */
void sites_collect(void);
uint64_t sites_page_map(void);
/* All kinds of lines and how often they moved, and the busiest line of each kind, per pair of n. */
void sites_print(double n);

#endif
