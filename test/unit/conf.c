/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* base/conf: every key, every form of a value, and every line of complaint. */
#include "base/conf.h"

#include <stdio.h>

#include "base/format.h"
#include "unit.h"

static char said[1024];
static unsigned complaints;

static void note(const char *source, const char *line)
{
	size_t length = strlen(said);

	complaints++;
	snprintf(said + length, sizeof(said) - length, "%s: %s\n", source, line);
}

static void parse(const char *text)
{
	said[0] = '\0';
	complaints = 0;
	near__conf_parse(text, strlen(text), "test", note);
}

static void expect_complaint(const char *text, const char *line)
{
	struct conf before = near__conf;

	parse(text);
	cr_assert_str_eq(said, line);
	cr_assert(!memcmp(&before, &near__conf, sizeof(before)), "%s changed something", text);
}

Test(conf, choices)
{
	parse("abort_conf:true,confirm_conf:true,stats_print:true,foreign:ignore,rseq:off,numa:on");
	cr_assert_eq(complaints, 0);
	cr_assert(near__conf.abort_conf && near__conf.confirm_conf && near__conf.stats_print);
	cr_assert_eq(near__conf.foreign, CONF_FOREIGN_IGNORE);
	cr_assert(near__conf.rseq == CONF_OFF && near__conf.numa == CONF_ON);
	parse("abort_conf:false,confirm_conf:false,stats_print:false,foreign:abort,rseq:auto,numa:off");
	cr_assert_eq(complaints, 0);
	cr_assert(!near__conf.abort_conf && !near__conf.confirm_conf && !near__conf.stats_print);
	cr_assert_eq(near__conf.foreign, CONF_FOREIGN_ABORT);
	cr_assert(near__conf.rseq == CONF_AUTO && near__conf.numa == CONF_OFF);
}

static void expect_size(const char *text, uint64_t bytes)
{
	char entry[64];

	snprintf(entry, sizeof(entry), "depot_cache:%s", text);
	parse(entry);
	cr_assert_eq(complaints, 0, "%s", said);
	cr_assert_eq(near__conf.depot_cache, bytes, "%s gave %zu", text, (size_t)near__conf.depot_cache);
}

Test(conf, sizes)
{
	expect_size("0", 0);
	expect_size("1", 1);
	expect_size("4096", 4096);
	expect_size("3k", 3 * KIB);
	expect_size("64K", 64 * KIB);
	expect_size("8M", 8 * MIB);
	expect_size("8m", 8 * MIB);
	expect_size("2G", 2 * GIB);
	expect_size("1T", 1024 * GIB);
	expect_size("18446744073709551615", UINT64_MAX);
	expect_size("16777215T", 16777215ull << 40);
	parse("percpu_cache:1M,extent_cache:2M");
	cr_assert(near__conf.percpu_cache == MIB && near__conf.extent_cache == 2 * MIB);
}

#define WANT_SIZE " (want a size such as 64K or 8M); kept as it was\n"

Test(conf, bad_sizes)
{
	expect_complaint("depot_cache:", "test: bad value \"\" for depot_cache" WANT_SIZE);
	expect_complaint("depot_cache", "test: bad value \"\" for depot_cache" WANT_SIZE);
	expect_complaint("depot_cache:K", "test: bad value \"K\" for depot_cache" WANT_SIZE);
	expect_complaint("depot_cache:-1", "test: bad value \"-1\" for depot_cache" WANT_SIZE);
	expect_complaint("depot_cache:+1", "test: bad value \"+1\" for depot_cache" WANT_SIZE);
	expect_complaint("depot_cache:1x", "test: bad value \"1x\" for depot_cache" WANT_SIZE);
	expect_complaint("depot_cache:1KB", "test: bad value \"1KB\" for depot_cache" WANT_SIZE);
	expect_complaint("depot_cache:0x10", "test: bad value \"0x10\" for depot_cache" WANT_SIZE);
	expect_complaint("depot_cache:1.5M", "test: bad value \"1.5M\" for depot_cache" WANT_SIZE);
	expect_complaint("depot_cache:1 K", "test: bad value \"1 K\" for depot_cache" WANT_SIZE);
	expect_complaint("depot_cache:18446744073709551616",
			 "test: bad value \"18446744073709551616\" for depot_cache" WANT_SIZE);
	expect_complaint("depot_cache:18014398509481984K",
			 "test: bad value \"18014398509481984K\" for depot_cache" WANT_SIZE);
	expect_complaint("percpu_cache:many", "test: bad value \"many\" for percpu_cache" WANT_SIZE);
	expect_complaint("extent_cache:\x80", "test: bad value \"?\" for extent_cache" WANT_SIZE);
	expect_complaint("extent_cache:\x1b[2J", "test: bad value \"[2J\" for extent_cache" WANT_SIZE); /* trimmed */
	expect_complaint("extent_cache:1\x1b[2J", "test: bad value \"1?[2J\" for extent_cache" WANT_SIZE);
}

#define WANT(choices) " (want " choices "); kept as it was\n"

Test(conf, bad_choices)
{
	expect_complaint("foreign:x", "test: bad value \"x\" for foreign" WANT("abort|ignore"));
	expect_complaint("foreign:abort|ignore", "test: bad value \"abort|ignore\" for foreign" WANT("abort|ignore"));
	expect_complaint("foreign:abor", "test: bad value \"abor\" for foreign" WANT("abort|ignore"));
	expect_complaint("foreign:ignored", "test: bad value \"ignored\" for foreign" WANT("abort|ignore"));
	expect_complaint("rseq:yes", "test: bad value \"yes\" for rseq" WANT("auto|on|off"));
	expect_complaint("numa:", "test: bad value \"\" for numa" WANT("auto|on|off"));
	expect_complaint("abort_conf:1", "test: bad value \"1\" for abort_conf" WANT("false|true"));
	expect_complaint("confirm_conf:TRUE", "test: bad value \"TRUE\" for confirm_conf" WANT("false|true"));
	expect_complaint("stats_print:maybe", "test: bad value \"maybe\" for stats_print" WANT("false|true"));
}

Test(conf, bad_keys)
{
	expect_complaint("foo:1", "test: unknown key \"foo\"\n");
	expect_complaint("foo", "test: unknown key \"foo\"\n");
	expect_complaint(":1", "test: unknown key \"\"\n");
	expect_complaint("rse:off", "test: unknown key \"rse\"\n");
	expect_complaint("rseqq:off", "test: unknown key \"rseqq\"\n");
	expect_complaint("Rseq:off", "test: unknown key \"Rseq\"\n");
}

Test(conf, long_words_are_shortened)
{
	char entry[400], wanted[400];

	memset(entry, 'y', 300);
	entry[300] = '\0';
	snprintf(wanted, sizeof(wanted), "test: unknown key \"%.80s\"\n", entry);
	expect_complaint(entry, wanted);
	memcpy(entry, "foreign:", 8);
	snprintf(wanted, sizeof(wanted), "test: bad value \"%.80s\" for foreign" WANT("abort|ignore"), entry + 8);
	expect_complaint(entry, wanted);
}

Test(conf, separators_blanks_and_comments)
{
	parse(" rseq : off ,\n\t depot_cache:\t1K\r\n,,\n\n");
	cr_assert_eq(complaints, 0, "%s", said);
	cr_assert(near__conf.rseq == CONF_OFF && near__conf.depot_cache == KIB);
	parse("# rseq:on, foo:1\nrseq:auto\n# the end");
	cr_assert_eq(complaints, 0, "%s", said);
	cr_assert_eq(near__conf.rseq, CONF_AUTO);
	parse("rseq:on\n\t # indented, all of it\n");
	cr_assert_eq(complaints, 0, "%s", said);
	parse("");
	parse(",");
	cr_assert_eq(complaints, 0);
}

Test(conf, one_bad_entry_spoils_no_other)
{
	parse("depot_cache:1K,foo:2,depot_cache:x,extent_cache:3K");
	cr_assert_str_eq(said, "test: unknown key \"foo\"\ntest: bad value \"x\" for depot_cache" WANT_SIZE);
	cr_assert(near__conf.depot_cache == KIB && near__conf.extent_cache == 3 * KIB);
}

Test(conf, text_needs_no_terminator)
{
	const char raw[] = {'r', 's', 'e', 'q', ':', 'o', 'n', 'x', 'x'};

	near__conf_parse(raw, 7, "test", note);
	cr_assert(complaints == 0 && near__conf.rseq == CONF_ON);
}

Test(conf, later_sources_win_and_are_named)
{
	char all[2048];
	struct text text = TEXT_IN(all);
	unsigned keys = 0;

	near__conf_parse("depot_cache:1K,rseq:off", 23, "first", note);
	near__conf_parse("depot_cache:2K", 14, "second", note);
	near__conf_parse("rseq:perhaps", 12, "third", note);
	while (near__conf_describe(keys, &text)) {
		near__text_add(&text, "\n");
		keys++;
	}
	cr_assert_eq(keys, 13);
	cr_assert(strstr(all, "depot_cache:2048 (second)\n"), "%s", all);
	cr_assert(strstr(all, "rseq:off (first)\n"), "%s", all);
	cr_assert(strstr(all, "foreign:abort (default)\n"), "%s", all);
	cr_assert(strstr(all, "abort_conf:false (default)\n"), "%s", all);
}
