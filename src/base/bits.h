/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* Arithmetic on powers of two, and bitmaps as arrays of 64-bit words. */
#ifndef NEAR_BASE_BITS_H
#define NEAR_BASE_BITS_H

#include <stdbool.h>

#include "base/compiler.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)

ALWAYS_INLINE bool is_power_of_two(size_t n)
{
	return n && !(n & (n - 1));
}

/* n up or down to a multiple of `to`, a power of two; up must not overflow. */
ALWAYS_INLINE size_t round_up(size_t n, size_t to)
{
	return (n + to - 1) & ~(to - 1);
}

ALWAYS_INLINE size_t round_down(size_t n, size_t to)
{
	return n & ~(to - 1);
}

/* floor(log2(n)), n > 0 */
ALWAYS_INLINE unsigned log2_floor(size_t n)
{
	return 63u - (unsigned)__builtin_clzll(n);
}

/* Without a call to libgcc, where the CPU need not have an instruction for it. */
ALWAYS_INLINE unsigned bits_in(uint64_t word)
{
	word -= word >> 1 & 0x5555555555555555;
	word = (word & 0x3333333333333333) + (word >> 2 & 0x3333333333333333);
	return (unsigned)(((word + (word >> 4)) & 0x0f0f0f0f0f0f0f0f) * 0x0101010101010101 >> 56);
}

ALWAYS_INLINE size_t size_min(size_t a, size_t b)
{
	return a < b ? a : b;
}

ALWAYS_INLINE size_t size_max(size_t a, size_t b)
{
	return a > b ? a : b;
}

/* Bits [from, from + len) of one word's worth, len <= 64 - from. */
ALWAYS_INLINE uint64_t bit_range(unsigned from, unsigned len)
{
	return (len >= 64 ? ~0ull : (1ull << len) - 1) << from;
}

ALWAYS_INLINE bool bit_test(const uint64_t *map, unsigned i)
{
	return map[i / 64] >> (i % 64) & 1;
}

/* First bit at or after `from` that differs from those of `flip`; `bits` when there is none. */
ALWAYS_INLINE unsigned bits_next(const uint64_t *map, unsigned from, unsigned bits, uint64_t flip)
{
	while (from < bits) {
		uint64_t word = (map[from / 64] ^ flip) >> (from % 64);

		if (word) {
			from += (unsigned)__builtin_ctzll(word);
			return from < bits ? from : bits;
		}
		from = (from / 64 + 1) * 64;
	}
	return bits;
}

ALWAYS_INLINE unsigned bits_next_clear(const uint64_t *map, unsigned from, unsigned bits)
{
	return bits_next(map, from, bits, ~0ull);
}

ALWAYS_INLINE unsigned bits_next_set(const uint64_t *map, unsigned from, unsigned bits)
{
	return bits_next(map, from, bits, 0);
}

/* Where the run of clear bits that ends before `end` begins. */
ALWAYS_INLINE unsigned bits_run_start(const uint64_t *map, unsigned end)
{
	while (end) {
		unsigned last = (end - 1) % 64;
		uint64_t word = map[(end - 1) / 64] << (63 - last);

		if (word)
			return end - (unsigned)__builtin_clzll(word);
		end -= last + 1;
	}
	return 0;
}

void near__bits_set(uint64_t *map, unsigned from, unsigned len);
void near__bits_clear(uint64_t *map, unsigned from, unsigned len);
bool near__bits_any(const uint64_t *map, unsigned from, unsigned len);
unsigned near__bits_count(const uint64_t *map, unsigned from, unsigned len);

/*
 * A list such as "0-3,8": takes its first range off and moves *list past it and its comma. False: there is none, or it is not
 * a range; then *list stands where it stood.
 */
bool near__range_next(const char **list, const char *end, unsigned long *first, unsigned long *last);

#endif
