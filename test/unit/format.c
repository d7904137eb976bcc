/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* base/format: the small printf against libc's, and what is its own. */
#include "base/format.h"

#include <limits.h>
#include <stdio.h>

#include "unit.h"

#define EXPECT_LIKE_LIBC(...)                                          \
	do {                                                           \
		char ours[128], theirs[128];                           \
		struct text text = TEXT_IN(ours);                      \
		near__text_add(&text, __VA_ARGS__);                    \
		snprintf(theirs, sizeof(theirs), __VA_ARGS__);         \
		cr_assert_str_eq(ours, theirs);                        \
		cr_assert(text.length == strlen(theirs) && !text.cut); \
	} while (0)

Test(format, like_libc)
{
	EXPECT_LIKE_LIBC("plain");
	EXPECT_LIKE_LIBC("%d %d %d %d", 0, -1, INT_MAX, INT_MIN);
	EXPECT_LIKE_LIBC("%ld %ld", LONG_MAX, LONG_MIN);
	EXPECT_LIKE_LIBC("%u %x %lu %lx %zu", UINT_MAX, 0xbeefu, ULONG_MAX, ULONG_MAX, (size_t)7);
	EXPECT_LIKE_LIBC("[%5d] [%-5d] [%05u] [%8x]", 42, 42, 42u, 0xabu);
	EXPECT_LIKE_LIBC("[%s] [%6s] [%-6s] [%2s]", "abc", "abc", "abc", "abc");
	EXPECT_LIKE_LIBC("[%.*s] [%.*s] [%-5.*s]", 2, "abc", 9, "abc", 1, "abc");
	EXPECT_LIKE_LIBC("%c%c%c", 'a', '%', '\n');
	EXPECT_LIKE_LIBC("100%% %p", (void *)0x7f0012345678);
}

Test(format, missing_strings_and_kinds)
{
	char buffer[64];
	struct text text = TEXT_IN(buffer);

	near__text_add(&text, "%s %p", (const char *)NULL, NULL);
	cr_assert_str_eq(buffer, "(none) 0x0");
	near__text_add(&text, " %");
	cr_assert_str_eq(buffer, "(none) 0x0 ");
}

Test(format, not_terminated_strings_are_not_overrun)
{
	const char raw[3] = {'x', 'y', 'z'};
	char buffer[16];
	struct text text = TEXT_IN(buffer);

	near__text_add(&text, "%.*s", 3, raw);
	cr_assert_str_eq(buffer, "xyz");
}

static void expect_bytes(uint64_t bytes, const char *wanted)
{
	char buffer[32];
	struct text text = TEXT_IN(buffer);

	near__text_add(&text, "%B", bytes);
	cr_assert_str_eq(buffer, wanted);
}

Test(format, bytes_for_people)
{
	char buffer[32];
	struct text text = TEXT_IN(buffer);

	expect_bytes(0, "0 B");
	expect_bytes(1023, "1023 B");
	expect_bytes(1024, "1.0 KiB");
	expect_bytes(1536, "1.5 KiB");
	expect_bytes(MIB - 1, "1023.9 KiB");
	expect_bytes(12 * MIB + 300 * KIB, "12.2 MiB");
	expect_bytes(5 * GIB, "5.0 GiB");
	expect_bytes(UINT64_MAX, "15.9 EiB");
	near__text_add(&text, "[%10B] [%-8B]", (uint64_t)2048, (uint64_t)1);
	cr_assert_str_eq(buffer, "[   2.0 KiB] [1 B     ]");
}

Test(format, what_does_not_fit_is_cut)
{
	char buffer[8];
	struct text text = TEXT_IN(buffer), none = {0};

	near__text_add(&text, "%s", "1234567");
	cr_assert(!text.cut && text.length == 7);
	near__text_add(&text, "%d", 8);
	cr_assert(text.cut && text.length == 7);
	cr_assert_str_eq(buffer, "1234567");
	near__text_add(&none, "nowhere %d", 1);
	cr_assert_eq(none.length, 0);
}
