/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* base/bits: ranges and searches against the bit-by-bit definition; lists of ranges as text. */
#include <stdio.h>

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
	cr_assert_eq(bits_next_set(map, from, end), at);
	naive(shadow, from, end, false, &at);
	cr_assert_eq(bits_next_clear(map, from, end), at);
	for (at = from; at && !shadow[at - 1]; at--)
		;
	cr_assert_eq(bits_run_start(map, from), at);
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

	cr_assert_eq(bits_next_clear(map, 0, 128), 128);
	cr_assert_eq(bits_next_clear(map, 128, 128), 128);
	cr_assert_eq(bits_next_set(map, 63, 128), 63);
	cr_assert_eq(bits_next_set(map, 64, 65), 64);
	cr_assert_eq(near__bits_count(map, 0, 128), 128);
	near__bits_clear(map, 0, 128);
	cr_assert(map[0] == 0 && map[1] == 0);
	cr_assert_eq(bits_next_set(map, 0, 128), 128);
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

/* ---- lists of ranges ------------------------------------------------------------------------------- */

/* All ranges as "first-last;", then what is left of the list. */
static const char *ranges_of(const char *list)
{
	static char text[256];
	const char *at = list, *end = list + strlen(list);
	unsigned long first = 77, last = 77;
	size_t length = 0;

	while (near__range_next(&at, end, &first, &last))
		length += (size_t)snprintf(text + length, sizeof(text) - length, "%lu-%lu;", first, last);
	snprintf(text + length, sizeof(text) - length, "|%s", at);
	return text;
}

#define EXPECT_RANGES(list, wanted) cr_assert_str_eq(ranges_of(list), wanted, "%s gave %s", list, ranges_of(list))

Test(ranges, lists)
{
	EXPECT_RANGES("0", "0-0;|");
	EXPECT_RANGES("0-3,8", "0-3;8-8;|");
	EXPECT_RANGES("0-3,8\n", "0-3;8-8;|\n"); /* as the kernel writes it */
	EXPECT_RANGES("5-5", "5-5;|");
	EXPECT_RANGES("8,0-3", "8-8;0-3;|");
	EXPECT_RANGES("007", "7-7;|");
	EXPECT_RANGES("1023", "1023-1023;|");
}

Test(ranges, what_is_none_stays_in_the_list)
{
	EXPECT_RANGES("", "|");
	EXPECT_RANGES("\n", "|\n");
	EXPECT_RANGES("x", "|x");
	EXPECT_RANGES("-3", "|-3");
	EXPECT_RANGES(",1", "|,1");
	EXPECT_RANGES("1,,2", "1-1;|,2");
	EXPECT_RANGES("3-1", "|3-1");
	EXPECT_RANGES("0,3-1,5", "0-0;|3-1,5");
	EXPECT_RANGES("3-", "|3-");
	EXPECT_RANGES("3-x", "|3-x");
	EXPECT_RANGES("1-2-3", "1-2;|-3");
	EXPECT_RANGES("1;2", "1-1;|;2");
	EXPECT_RANGES("+1", "|+1");
	EXPECT_RANGES("0x10", "0-0;|x10");
}

Test(ranges, a_comma_at_the_end)
{
	EXPECT_RANGES("1,", "1-1;|");
	EXPECT_RANGES("1-2,", "1-2;|");
}

Test(ranges, numbers_too_large_are_none)
{
	EXPECT_RANGES("4294967295", "4294967295-4294967295;|");
	EXPECT_RANGES("18446744073709551616", "|18446744073709551616"); /* 2^64 */
	EXPECT_RANGES("18446744073709551615", "|18446744073709551615");
	EXPECT_RANGES("99999999999999999999999999", "|99999999999999999999999999");
	EXPECT_RANGES("0-18446744073709551616", "|0-18446744073709551616");
	EXPECT_RANGES("1,99999999999999999999", "1-1;|99999999999999999999");
}

Test(ranges, nothing_is_read_beyond_the_end)
{
	static const char list[] = {'1', '2', '-', '3', '4', ',', '5', '6'};
	const char *at = list;
	unsigned long first, last;

	cr_assert(near__range_next(&at, list + 2, &first, &last));
	cr_assert(first == 12 && last == 12 && at == list + 2);
	at = list;
	cr_assert(near__range_next(&at, list + 5, &first, &last));
	cr_assert(first == 12 && last == 34 && at == list + 5);
	at = list;
	cr_assert_not(near__range_next(&at, list + 3, &first, &last));
	cr_assert_eq(at, list);
	at = list + 6;
	cr_assert(near__range_next(&at, list + 7, &first, &last));
	cr_assert(first == 5 && last == 5 && at == list + 7);
	cr_assert_not(near__range_next(&at, at, &first, &last));
}
