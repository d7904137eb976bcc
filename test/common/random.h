/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* Repeatable random numbers and the mix of block sizes that the stress programs use. */
#ifndef NEAR_TEST_RANDOM_H
#define NEAR_TEST_RANDOM_H

#include <stddef.h>
#include <stdint.h>

static inline uint64_t random_next(uint64_t *state)
{
	uint64_t x = *state != 0 ? *state : 0x9e3779b97f4a7c15u;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*state = x;
	return x * 0x2545f4914f6cdd1du;
}

static inline uint64_t random_below(uint64_t *state, uint64_t bound)
{
	return (random_next(state) >> 11) % bound;
}

/* Mostly small; one in 500 up to `max`; 0 now and then. */
static inline size_t random_size(uint64_t *state, size_t max)
{
	uint64_t dice = random_below(state, 1000);
	size_t bound = dice < 600 ? 257 : dice < 850 ? 4097 : dice < 980 ? 32769 : dice < 998 ? 300000 : max;

	return (size_t)random_below(state, bound < max ? bound : max);
}

#endif
