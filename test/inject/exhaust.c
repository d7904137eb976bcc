/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Resources that end: `space KIB` leaves the process that much more address space, `mappings N` that many mappings more.
 * Under that every request may be refused; afterwards all must be served, and nothing may be lost.
 */
#include <sys/resource.h>

#include "account.h"
#include "shadow.h"
#include "threads.h"

static unsigned long room;

static struct shadow s; /* its table comes before there is no room for it */

static void churn(bool may_fail)
{
	static const size_t largest[] = {500, 20000, 400000, 9u << 20};

	s.may_fail = may_fail;
	for (unsigned i = 0; i < 4; i++) {
		s.max = largest[i];
		shadow_steps(&s, 3000);
		shadow_verify(&s);
		shadow_empty(&s);
	}
	for (unsigned i = 0; i < 8; i++)
		free(aligned_alloc((size_t)1 << (16 + i), (size_t)1 << (14 + i)));
}

static void open_all(void)
{
	shadow_open(&s, 1000, 1000, 7);
	account_open();
}

static void unconfined(void)
{
	churn(false);
	expect_nothing_lost();
}

static void space(void)
{
	struct rlimit limit, before;

	open_all();
	CHECK(getrlimit(RLIMIT_AS, &before) == 0);
	limit = before;
	limit.rlim_cur = ((rlim_t)status_kib("VmSize:") + room) * 1024;
	CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
	churn(true);
	CHECK(setrlimit(RLIMIT_AS, &before) == 0);
	expect_sound();
	unconfined();
}

/* Pages of one mapping with rights in turn, each then a mapping of its own, until the kernel refuses. */
static void mappings(void)
{
	enum { PAGES = 140000, PAGE = 4096 };
	unsigned char *split;
	unsigned long made = 0;

	open_all();
	split = mmap(NULL, (size_t)PAGES * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	CHECK(split != MAP_FAILED);
	while (made < PAGES / 2 && mprotect(split + 2 * made * PAGE, PAGE, PROT_READ) == 0)
		made++;
	if (made == PAGES / 2)
		skip("this kernel knows no bound on mappings");
	for (unsigned long i = 0; i < room; i += 2)
		CHECK(mprotect(split + 2 * --made * PAGE, PAGE, PROT_NONE) == 0);
	churn(true);
	CHECK(munmap(split, (size_t)PAGES * PAGE) == 0);
	expect_sound();
	unconfined();
}

static const struct test_case cases[] = {{"space", space}, {"mappings", mappings}};

int main(int argc, char **argv)
{
	room = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
	return RUN_CASE(argc, argv, cases);
}
