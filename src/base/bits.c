/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* Ranges and searches in bitmaps. */
#include "base/bits.h"

enum range_op { RANGE_SET, RANGE_CLEAR, RANGE_ANY };

static bool range(uint64_t *map, unsigned from, unsigned len, enum range_op op)
{
	while (len) {
		unsigned shift = from % 64, n = len < 64 - shift ? len : 64 - shift;
		uint64_t mask = bit_range(shift, n), *word = &map[from / 64];

		if (op == RANGE_SET)
			*word |= mask;
		else if (op == RANGE_CLEAR)
			*word &= ~mask;
		else if (*word & mask)
			return true;
		from += n;
		len -= n;
	}
	return false;
}

void near__bits_set(uint64_t *map, unsigned from, unsigned len)
{
	range(map, from, len, RANGE_SET);
}

void near__bits_clear(uint64_t *map, unsigned from, unsigned len)
{
	range(map, from, len, RANGE_CLEAR);
}

bool near__bits_any(const uint64_t *map, unsigned from, unsigned len)
{
	return range((uint64_t *)map, from, len, RANGE_ANY);
}

unsigned near__bits_count(const uint64_t *map, unsigned from, unsigned len)
{
	unsigned count = 0;

	while (len) {
		unsigned shift = from % 64, n = len < 64 - shift ? len : 64 - shift;

		count += bits_in(map[from / 64] & bit_range(shift, n));
		from += n;
		len -= n;
	}
	return count;
}

static bool number_next(const char **text, const char *end, unsigned long *n)
{
	const char *p = *text;

	for (*n = 0; p < end && *p >= '0' && *p <= '9'; p++) {
		if (*n > UINT32_MAX)
			return false;
		*n = *n * 10 + (unsigned long)(*p - '0');
	}
	if (p == *text)
		return false;
	*text = p;
	return true;
}

bool near__range_next(const char **list, const char *end, unsigned long *first, unsigned long *last)
{
	const char *p = *list;

	if (!number_next(&p, end, first))
		return false;
	*last = *first;
	if (p < end && *p == '-') {
		p++;
		if (!number_next(&p, end, last) || *last < *first)
			return false;
	}
	if (p < end && *p == ',')
		p++;
	*list = p;
	return true;
}
