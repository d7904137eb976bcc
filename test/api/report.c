/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* mallinfo, malloc_info, malloc_stats, mallopt and malloc_trim: plausible, well-formed, and true. */
#include <fcntl.h>

#include "api.h"
#include "threads.h"
#include "xml.h"

enum { MANY = 20000 };
static void *many[MANY];

static void hold_many(size_t size)
{
	for (int i = 0; i < MANY; i++) {
		many[i] = malloc(size);
		memset(many[i], 1, size);
	}
}

static void drop_many(void)
{
	for (int i = 0; i < MANY; i++)
		free(many[i]);
}

Test(mallinfo2, follows_what_the_program_owns)
{
	struct mallinfo2 before = mallinfo2(), during, after;

	hold_many(2000);
	during = mallinfo2();
	drop_many();
	after = mallinfo2();
	cr_expect_geq(during.uordblks + during.hblkhd, before.uordblks + before.hblkhd + 2000u * MANY);
	cr_expect_leq(during.uordblks + during.hblkhd, before.uordblks + before.hblkhd + 2600u * MANY + MIB);
	cr_expect_lt(after.uordblks, during.uordblks);
	cr_expect_leq(during.uordblks, during.arena + during.hblkhd);
}

Test(mallinfo2, sees_large_blocks)
{
	size_t before = mallinfo2().hblkhd + mallinfo2().uordblks;
	void *p = malloc(64 * MIB);

	cr_expect_geq(mallinfo2().hblkhd + mallinfo2().uordblks, before + 64 * MIB);
	free(p);
	cr_expect_lt(mallinfo2().hblkhd + mallinfo2().uordblks, before + 64 * MIB);
}

Test(mallinfo, has_the_figures_of_mallinfo2)
{
	void *p = malloc(3 * MIB);
	struct mallinfo2 wide = mallinfo2();
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
	struct mallinfo narrow = mallinfo();
#pragma GCC diagnostic pop
	cr_expect_gt(narrow.uordblks + narrow.hblkhd, 3 << 20);
	cr_expect_leq((size_t)narrow.uordblks, wide.uordblks + MIB);
	free(p);
}

Test(malloc_info, is_well_formed_xml_as_glibc_writes_it)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	hold_many(300);
	cr_assert_eq(malloc_info(0, out), 0);
	fclose(out);
	cr_expect(well_formed(text, "malloc"), "%s", text);
	cr_expect_not_null(strstr(text, "<malloc version="));
	cr_expect_not_null(strstr(text, "<heap nr=\"0\">"));
	cr_expect_not_null(strstr(text, "<total type="));
	cr_expect_not_null(strstr(text, "<system type=\"current\" size="));
	drop_many();
	free(text);
}

Test(malloc_info, refuses_options)
{
	errno = 0;
	cr_expect_neq(malloc_info(1, stderr), 0);
}

/* The checker itself: it must be able to say no. */
Test(malloc_info, checker)
{
	cr_expect(well_formed("<malloc version=\"1\">\n<heap nr=\"0\"/></malloc>\n", "malloc"));
	cr_expect_not(well_formed("<malloc version=\"1\">\n<heap nr=\"0\"></malloc>\n", "malloc"));
	cr_expect_not(well_formed("<malloc></malloc>x", "malloc"));
	cr_expect_not(well_formed("<malloc a=\"></malloc>", "malloc"));
	cr_expect_not(well_formed("<other></other>", "malloc"));
	cr_expect_not(well_formed("<malloc></malloc><malloc></malloc>", "malloc"));
}

static size_t bytes_written_to_stderr_by(void (*call)(void))
{
	char name[] = "/tmp/near-api-XXXXXX";
	int file = mkstemp(name), saved = dup(2);
	off_t size;

	unlink(name);
	dup2(file, 2);
	call();
	dup2(saved, 2);
	size = lseek(file, 0, SEEK_END);
	close(file);
	close(saved);
	return (size_t)size;
}

Test(malloc_stats, writes_to_stderr)
{
	cr_expect_gt(bytes_written_to_stderr_by(malloc_stats), 20);
}

Test(malloc_stats, survives_a_closed_stderr)
{
	int saved = dup(2);

	close(2);
	malloc_stats();
	dup2(saved, 2);
}

Test(mallopt, accepts_every_parameter_of_glibc)
{
	static const int rows[][2] = {
		{M_MXFAST, 64},	 {M_TRIM_THRESHOLD, 1 << 20}, {M_TOP_PAD, 0}, {M_MMAP_THRESHOLD, 1 << 20},
		{M_MMAP_MAX, 0}, {M_CHECK_ACTION, 3},	      {M_PERTURB, 0}, {M_ARENA_TEST, 2},
		{M_ARENA_MAX, 1}};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		cr_expect_eq(mallopt(rows[i][0], rows[i][1]), 1, "mallopt(%d)", rows[i][0]);
	hold_many(100);
	free(malloc(100 * MIB));
	drop_many();
}

Test(malloc_trim, gives_small_blocks_back)
{
	long peak;

	hold_many(4000);
	peak = rss_kib();
	cr_assert_gt(peak, 4000L * MANY / 1024);
	drop_many();
	malloc_trim(0);
	cr_expect_lt(rss_kib(), peak / 4, "%ld KiB of %ld left", rss_kib(), peak);
	hold_many(4000);
	drop_many();
}

Test(malloc_trim, gives_large_blocks_back)
{
	long peak, start = rss_kib();

	for (int i = 0; i < 256; i++) {
		many[i] = malloc(MIB);
		memset(many[i], 1, MIB);
	}
	peak = rss_kib();
	for (int i = 0; i < 256; i++)
		free(many[i]);
	malloc_trim(0);
	cr_expect_lt(rss_kib(), start + (peak - start) / 8);
}

Test(malloc_trim, without_anything_to_give)
{
	malloc_trim(0);
	malloc_trim(0);
	malloc_trim(SIZE_MAX);
	cr_expect_eq(malloc_trim(0), 0);
}
