/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* base/bits: ranges and searches against the bit-by-bit definition. */
#include "unit.h"

enum { BITS = 256, ROUNDS = 20000 };

static bool naive(const bool *map, unsigned from, unsigned bits, bool wanted, unsigned *at)
{
	for (*at = from; *at < bits; ++*at) {
		if (map[*at] == wanted)
			return true;
	}
	return false;
}

static void check_searches(const uint64_t *map, const bool *shadow, unsigned from, unsigned len)
{
	unsigned at, count = 0, end = from + len;

	for (unsigned i = from; i < end; i++)
		count += shadow[i];
	cr_assert_eq(near__bits_count(map, from, len), count);
	cr_assert_eq(near__bits_any(map, from, len), count > 0);
	naive(shadow, from, end, true, &at);
	cr_assert_eq(near__bits_next_set(map, from, end), at);
	naive(shadow, from, end, false, &at);
	cr_assert_eq(near__bits_next_clear(map, from, end), at);
}

Test(bits, ranges_match_single_bits)
{
	uint64_t map[BITS / 64] = {0}, random = 1;
	bool shadow[BITS] = {0};

	for (int round = 0; round < ROUNDS; round++) {
		unsigned from = (unsigned)(unit_random(&random) % BITS);
		unsigned len = (unsigned)(unit_random(&random) % (BITS - from + 1));
		bool set = unit_random(&random) & 1;

		if (set)
			near__bits_set(map, from, len);
		else
			near__bits_clear(map, from, len);
		memset(shadow + from, set, len);
		for (unsigned i = 0; i < BITS; i++)
			cr_assert_eq(bit_test(map, i), shadow[i]);
		from = (unsigned)(unit_random(&random) % BITS);
		check_searches(map, shadow, from, (unsigned)(unit_random(&random) % (BITS - from + 1)));
	}
}

Test(bits, whole_words_and_ends)
{
	uint64_t map[2] = {~0ull, ~0ull};

	cr_assert_eq(near__bits_next_clear(map, 0, 128), 128);
	cr_assert_eq(near__bits_next_clear(map, 128, 128), 128);
	cr_assert_eq(near__bits_next_set(map, 63, 128), 63);
	cr_assert_eq(near__bits_next_set(map, 64, 65), 64);
	cr_assert_eq(near__bits_count(map, 0, 128), 128);
	near__bits_clear(map, 0, 128);
	cr_assert(map[0] == 0 && map[1] == 0);
	cr_assert_eq(near__bits_next_set(map, 0, 128), 128);
	near__bits_set(map, 63, 2);
	cr_assert(map[0] == 1ull << 63 && map[1] == 1);
	cr_assert_not(near__bits_any(map, 0, 63));
	cr_assert_not(near__bits_any(map, 64, 0));
	cr_assert_eq(bit_range(0, 64), ~0ull);
	cr_assert_eq(bit_range(63, 1), 1ull << 63);
	cr_assert_eq(bit_range(5, 0), 0);
}

Test(bits, rounding)
{
	for (size_t n = 0; n < 5000; n++) {
		cr_assert_eq(round_up(n, 64), (n + 63) / 64 * 64);
		cr_assert_eq(round_down(n, 64), n / 64 * 64);
		cr_assert_eq(round_up(n, 1), n);
	}
	for (unsigned bit = 0; bit < 64; bit++) {
		cr_assert_eq(log2_floor((size_t)1 << bit), bit);
		cr_assert_eq(log2_floor(((size_t)2 << bit) - 1), bit);
		cr_assert(is_power_of_two((size_t)1 << bit));
		cr_assert(bit < 2 || !is_power_of_two(((size_t)1 << bit) + 1));
	}
	cr_assert_not(is_power_of_two(0));
	cr_assert_eq(size_min(2, 3), 2);
	cr_assert_eq(size_max(2, 3), 3);
}
