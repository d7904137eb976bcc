/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* Where pages lie, and the figures of nodes: unbound, bound and strict. */
#include "child.h"

static void residence(void)
{
	size_t page = page_size(), counts[1024], pages = 300;
	char *p;

	if (!kernel_tells())
		skip("move_pages is refused here");
	p = mmap(NULL, pages * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(p != MAP_FAILED && madvise(p, pages * page, MADV_NOHUGEPAGE) == 0);
	CHECK(resident(p, pages * page) == 0);
	for (size_t i = 0; i < pages; i += 3)
		p[i * page] = 1;
	CHECK(resident(p, pages * page) == 100);
	CHECK(resident(p, page) == 1);
	CHECK(resident(p, 1) == 1);
	CHECK(resident(p + page - 1, 1) == 1);
	CHECK(resident(p + page, 2 * page) == 0);
	CHECK(resident(p + page - 1, 2) == 1);
	CHECK(resident(p + page / 2, 3 * page) == 2); /* from the first page into the fourth */
	CHECK(resident(p + 3 * page - 1, page + 2) == 1);
	CHECK(resident(p, 0) == 0);
	CHECK(resident(p + 1, 0) == 0);
	CHECK(resident(p + 3 * page + 77, 0) == 0);
	CHECK(resident(NULL, 0) == 0);
	CHECK(munmap(p, pages * page) == 0);
	expect_error(near_node_resident(&page, sizeof(page), NULL) == -1, EINVAL);
	expect_error(near_node_resident((void *)(uintptr_t)4096, SIZE_MAX, counts) == -1, EINVAL);
	expect_error(near_node_resident((void *)UINTPTR_MAX, 2, counts) == -1, EINVAL);
	expect_error(near_node_resident((void *)(UINTPTR_MAX - 4095), 4096, counts) == -1, EINVAL);
}

/* The last page that there is: what comes behind it is not page 0. */
static void residence_at_the_end(void)
{
	size_t counts[1024];

	if (!kernel_tells())
		skip("move_pages is refused here");
	alarm(10);
	near_node_resident((void *)(UINTPTR_MAX - 4000), 100, counts);
	near_node_resident((void *)(UINTPTR_MAX - 3 * 4096), 3 * 4096, counts);
	alarm(0);
}

static void residence_of_blocks(void)
{
	size_t page = page_size();
	char *p = opaque(malloc(4 * MIB));

	if (!kernel_tells())
		skip("move_pages is refused here");
	memset(p, 1, 4 * MIB);
	CHECK(resident(p, 4 * MIB) >= 4 * MIB / page);
	free(p);
}

static void residence_of_untouched_blocks(void)
{
	char *p = opaque(calloc(1, 64 * MIB));

	if (!kernel_tells())
		skip("move_pages is refused here");
	CHECK(resident(p, 64 * MIB) == 0);
	p[5 * MIB] = 1;
	CHECK(resident(p, 64 * MIB) > 0);
	free(p);
}

/* ---- figures ------------------------------------------------------------------------------------------ */

static void figures(void)
{
	struct near_node_stats stats, later;
	struct near_node_pair pair;
	size_t counts[1024];
	int node = some_node();
	static void *many[20000];
	void *block;

	memset(&stats, 0xee, sizeof(stats));
	CHECK(near_node_stats(node, &stats, sizeof(stats)) == 0);
	CHECK(stats.mapped < GIB && stats.refills < 1000000 && stats.refills_remote <= stats.refills);
	block = opaque(malloc(5 * MIB));
	for (size_t i = 0; i < sizeof(many) / sizeof(many[0]); i++) {
		many[i] = malloc(500);
		memset(many[i], 1, 500);
	}
	CHECK(near_node_stats(node, &later, sizeof(later)) == 0);
	CHECK(near_max_node() > 0 || later.allocated_large == stats.allocated_large + 5 * MIB);
	CHECK(near_max_node() > 0 || later.mapped >= stats.mapped + 5 * MIB);
	CHECK(later.refills > stats.refills);
	memset(&later, 0xee, sizeof(later));
	CHECK(near_node_stats(node, &later, 8) == 0);
	CHECK(later.mapped >= stats.mapped && later.refills == 0xeeeeeeeeeeeeeeee);

	CHECK(near_node_pair(node, node, &pair, sizeof(pair)) == 0);
	CHECK(pair.freed_bytes >= pair.freed * 16 && pair.fallbacks == 0 && pair.fallback_bytes == 0);
	stats.mapped = pair.freed;
	for (size_t i = 0; i < sizeof(many) / sizeof(many[0]); i++)
		free(many[i]);
	free(block);
	CHECK(near_node_pair(node, node, &pair, sizeof(pair)) == 0);
	CHECK(near_max_node() > 0 || pair.freed >= stats.mapped + 15000);
	memset(&pair, 0xee, sizeof(pair));
	CHECK(near_node_pair(node, node, &pair, 8) == 0);
	CHECK(pair.freed >= stats.mapped && pair.freed_bytes == 0xeeeeeeeeeeeeeeee);

	expect_error(near_node_stats(node, NULL, sizeof(stats)) == -1, EINVAL);
	expect_error(near_node_stats(node, &stats, 0) == -1, EINVAL);
	expect_error(near_node_pair(node, node, NULL, sizeof(pair)) == -1, EINVAL);
	expect_error(near_node_pair(node, node, &pair, 0) == -1, EINVAL);
	expect_error(near_node_sample(node, 10, NULL) == -1, EINVAL);
	if (!kernel_tells())
		return;
	memset(counts, 0xee, sizeof(counts));
	CHECK(near_node_sample(node, 1000, counts) == 0);
	CHECK(errno == 4711);
	CHECK(sum(counts) > 0 && sum(counts) <= 3000);
	CHECK(near_node_sample(node, 0, counts) == 0);
	CHECK(near_node_sample(node, SIZE_MAX, counts) == 0);
	CHECK(sum(counts) > 0);
}

/* ---- each in a child ----------------------------------------------------------------------------------- */

__attribute__((constructor)) static void run_as_child(void)
{
	static const struct test_case cases[] = {
		{"residence", residence},
		{"residence_at_the_end", residence_at_the_end},
		{"residence_of_blocks", residence_of_blocks},
		{"residence_of_untouched_blocks", residence_of_untouched_blocks},
		{"figures", figures},
	};

	child_case(cases, sizeof(cases) / sizeof(cases[0]));
}

CHILD_TESTS(near_nodes, residence)
CHILD_TESTS(near_nodes, residence_at_the_end)
CHILD_TESTS(near_nodes, residence_of_blocks)
CHILD_TESTS(near_nodes, figures)

Test(near_nodes, residence_of_untouched_blocks)
{
	run_in_child("residence_of_untouched_blocks", "");
}

Test(near_nodes_bound, residence_of_untouched_blocks)
{
	run_bound("residence_of_untouched_blocks", "nodes:0");
}
