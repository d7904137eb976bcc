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
	cr_assert_eq(keys, 22);
	cr_assert(strstr(all, "depot_cache:2048 (second)\n"), "%s", all);
	cr_assert(strstr(all, "rseq:off (first)\n"), "%s", all);
	cr_assert(strstr(all, "foreign:abort (default)\n"), "%s", all);
	cr_assert(strstr(all, "abort_conf:false (default)\n"), "%s", all);
}

/* ---- nodes ---------------------------------------------------------------------------------------- */

static const char *described(const char *key)
{
	static char line[512];

	for (unsigned i = 0;; i++) {
		struct text text = TEXT_IN(line);

		cr_assert(near__conf_describe(i, &text), "no %s", key);
		if (!strncmp(line, key, strlen(key)) && line[strlen(key)] == ':')
			return line;
	}
}

/* Nothing is complained about, and the option reads as wanted. */
static void expect_nodes(const char *text, const char *wanted)
{
	char line[512];

	parse(text);
	cr_assert_eq(complaints, 0, "%s: %s", text, said);
	snprintf(line, sizeof(line), "nodes:%s (test)", wanted);
	cr_assert_str_eq(described("nodes"), line, "%s gave %s", text, described("nodes"));
}

Test(conf, nodes_begin_with_all)
{
	cr_assert_str_eq(described("nodes"), "nodes:all (default)");
	for (unsigned i = 0; i < CONF_NODE_WORDS; i++)
		cr_assert_eq(near__conf.nodes[i], 0);
}

Test(conf, lists_of_nodes)
{
	expect_nodes("nodes:0", "0");
	cr_assert_eq(near__conf.nodes[0], 1);
	expect_nodes("nodes:1023", "1023");
	cr_assert(near__conf.nodes[0] == 0 && near__conf.nodes[15] == 1ull << 63);
	expect_nodes("nodes:0-1,3", "0-1,3");
	cr_assert_eq(near__conf.nodes[0], 0xb);
	expect_nodes("nodes:3,0,1", "0-1,3");
	expect_nodes("nodes:5-5", "5");
	expect_nodes("nodes:1,1,0-2,2", "0-2");
	expect_nodes("nodes:63-64", "63-64");
	cr_assert(near__conf.nodes[0] == 1ull << 63 && near__conf.nodes[1] == 1);
	expect_nodes("nodes:0-1023", "0-1023");
	expect_nodes("nodes:7,nodes:8", "8");
	expect_nodes("nodes:7,nodes:all", "all");
	cr_assert_eq(near__bits_count(near__conf.nodes, 0, CONF_NODE_WORDS * 64), 0);
}

/* The comma of a list and the comma between options. */
Test(conf, nodes_among_other_options)
{
	expect_nodes("nodes:0-1,3,rseq:off,nodes:4,5\nnuma:on,nodes:6,7,", "6-7");
	cr_assert(near__conf.rseq == CONF_OFF && near__conf.numa == CONF_ON);
	expect_nodes("depot_cache:1K,nodes:2,4", "2,4");
	cr_assert_eq(near__conf.depot_cache, KIB);
	expect_nodes("nodes:1,\nrseq:on", "1");
	cr_assert_eq(near__conf.rseq, CONF_ON);
	expect_nodes("nodes:1,,rseq:auto", "1");
	cr_assert_eq(near__conf.rseq, CONF_AUTO);
}

Test(conf, blanks_in_a_list_of_nodes)
{
	expect_nodes("nodes: 0-1,3 ", "0-1,3");
	expect_nodes("nodes:0, 1", "0-1");
	expect_nodes("nodes : 0-1,  3,\t5", "0-1,3,5");
	expect_nodes("nodes:2 , rseq:on", "2");
	expect_nodes("nodes:2, 4 , rseq:off", "2,4");
	cr_assert_eq(near__conf.rseq, CONF_OFF);
}

#define WANT_NODES " for nodes (want a list of nodes such as 0-1,3, or all); kept as it was\n"

Test(conf, bad_lists_of_nodes)
{
	static const char *const bad[] = {"",	 "3-1",	 "99999",  "1024",	 "0-1024", "x",
					  "-1",	 "0-",	 "0-1,3-", "All",	 "all,0",  "1-2-3",
					  "1;2", "0,1x", "none",   "4294967296", "!0",	   "0x1"};
	char entry[100], line[200];

	parse("nodes:2,5");
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		snprintf(entry, sizeof(entry), "nodes:%s", bad[i]);
		snprintf(line, sizeof(line), "test: bad value \"%s\"" WANT_NODES, bad[i]);
		expect_complaint(entry, line);
		cr_assert_str_eq(described("nodes"), "nodes:2,5 (test)");
	}
	expect_complaint("nodes", "test: bad value \"\"" WANT_NODES);
}

/* What begins with a digit belongs to the option before it, so that is what is complained about. */
Test(conf, a_list_for_an_option_that_takes_none)
{
	expect_complaint("rseq:on,3", "test: bad value \"on,3\" for rseq" WANT("auto|on|off"));
	expect_complaint("depot_cache:1K,2", "test: bad value \"1K,2\" for depot_cache" WANT_SIZE);
}

Test(conf, a_long_list_of_nodes_is_described_as_far_as_it_fits)
{
	char list[4096] = "nodes:";
	size_t length = strlen(list);

	for (unsigned node = 0; node < 1024; node += 2)
		length += (size_t)snprintf(list + length, sizeof(list) - length, "%s%u", node ? "," : "", node);
	parse(list);
	cr_assert_eq(complaints, 0, "%s", said);
	cr_assert_eq(near__bits_count(near__conf.nodes, 0, CONF_NODE_WORDS * 64), 512);
	cr_assert(!strncmp(described("nodes"), "nodes:0,2,4,6,8,10,12,", 22));
}

Test(conf, what_becomes_of_memory_on_nodes)
{
	cr_assert_str_eq(described("numa_strict"), "numa_strict:false (default)");
	cr_assert_str_eq(described("remote_free"), "remote_free:home (default)");
	parse("numa_strict:true,remote_free:adopt");
	cr_assert_eq(complaints, 0, "%s", said);
	cr_assert(near__conf.numa_strict == 1 && near__conf.remote_free == CONF_REMOTE_ADOPT);
	cr_assert_str_eq(described("numa_strict"), "numa_strict:true (test)");
	cr_assert_str_eq(described("remote_free"), "remote_free:adopt (test)");
	expect_complaint("numa_strict:1", "test: bad value \"1\" for numa_strict" WANT("false|true"));
	expect_complaint("numa_strict:", "test: bad value \"\" for numa_strict" WANT("false|true"));
	expect_complaint("remote_free:away", "test: bad value \"away\" for remote_free" WANT("home|adopt"));
	expect_complaint("remote_free:home|adopt", "test: bad value \"home|adopt\" for remote_free" WANT("home|adopt"));
	parse("numa_strict:false,remote_free:home");
	cr_assert(!near__conf.numa_strict && near__conf.remote_free == CONF_REMOTE_HOME);
}

Test(conf, milliseconds)
{
	static const char *const bad[] = {"",	 "1s", "1K", "-1", "+1", "1.5", "0x10", "10 ms", "18446744073709551616",
					  "soon"};
	char entry[100], line[200];

	cr_assert_str_eq(described("decay_ms"), "decay_ms:10000 (default)");
	parse("decay_ms:0");
	cr_assert(!complaints && near__conf.decay_ms == 0);
	parse("decay_ms:18446744073709551615");
	cr_assert(!complaints && near__conf.decay_ms == UINT64_MAX);
	parse("decay_ms: 2500 ");
	cr_assert(!complaints && near__conf.decay_ms == 2500);
	cr_assert_str_eq(described("decay_ms"), "decay_ms:2500 (test)");
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		snprintf(entry, sizeof(entry), "decay_ms:%s", bad[i]);
		snprintf(line, sizeof(line), "test: bad value \"%s\" for decay_ms (want a number); kept as it was\n",
			 bad[i]);
		expect_complaint(entry, line);
	}
}
