/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * The calls that name nodes, on any machine: where nothing is bound, and in children that bind to node 0 by option, where
 * the kernel lets them.
 */
#include <limits.h>

#include "child.h"
#include "xml.h"

/* No nodes of this machine: seven numbers that hardly any has, and one more than it has. */
static const int strangers[] = {-1, -2, 1023, 1024, 65536, INT_MAX, INT_MIN, 0};

static int stranger(size_t i)
{
	return strangers[i] != 0 ? strangers[i] : near_max_node() + 1;
}

/* ---- the checks, alike for bound and unbound memory -------------------------------------------------- */

static void sizes_and_contents(void)
{
	int node = some_node();

	errno = 4711;
	for (size_t size = 0; size <= 8 * MIB; size = next_size(size)) {
		unsigned char *p = opaque(near_malloc_on_node(size, node)), *q;

		CHECK(p != NULL && aligned_to(p, 16) && malloc_usable_size(p) >= size);
		memset(p, 0xa5, size);
		q = opaque(near_calloc_on_node(1, size, node));
		CHECK(q != NULL && q != p && filled_with(q, 0, size));
		memset(q, 0x5a, size);
		CHECK(filled_with(p, 0xa5, size));
		free(p);
		free(q);
	}
	CHECK(errno == 4711);
}

static void calloc_products(void)
{
	int node = some_node();
	unsigned char *p = opaque(near_calloc_on_node(1000, 77, node));

	CHECK(p != NULL && filled_with(p, 0, 77000));
	free(p);
	p = opaque(near_calloc_on_node(0, SIZE_MAX, node));
	CHECK(p != NULL);
	free(p);
	expect_error(near_calloc_on_node((size_t)1 << 32, (size_t)1 << 32, node) == NULL, ENOMEM);
	expect_error(near_calloc_on_node(SIZE_MAX, 2, node) == NULL, ENOMEM);
	expect_error(near_calloc_on_node(3, SIZE_MAX / 2, node) == NULL, ENOMEM);
	for (size_t i = 0; i < IMPOSSIBLE; i++) {
		expect_error(near_malloc_on_node(impossible[i], node) == NULL, ENOMEM);
		expect_error(near_calloc_on_node(1, impossible[i], node) == NULL, ENOMEM);
		expect_error(near_aligned_alloc_on_node(64, impossible[i], node) == NULL, ENOMEM);
	}
}

static void alignments(void)
{
	static const size_t bad[] = {0, 3, 6, 24, 4095, 4097, SIZE_MAX};
	int node = some_node();

	errno = 4711;
	for (size_t align = 1; align <= 4 * MIB; align *= 2) {
		for (size_t size = 0; size <= 3 * MIB; size = size * 3 + 1) {
			unsigned char *p = opaque(near_aligned_alloc_on_node(align, size, node));

			CHECK(p != NULL && aligned_to(p, align) && malloc_usable_size(p) >= size);
			memset(p, 1, size);
			free(p);
		}
	}
	CHECK(errno == 4711);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		expect_error(near_aligned_alloc_on_node(bad[i], 64, node) == NULL, EINVAL);
}

static void realloc_keeps_contents(void)
{
	static const size_t sizes[] = {1, 100, 5000, 70000, 300000, 3000000, 9000000, 2000000, 400000, 30000, 17};
	int node = some_node();
	unsigned char *p, *q;
	size_t size = 10;

	errno = 4711;
	p = near_realloc_on_node(NULL, size, node);
	CHECK(p != NULL);
	memset(p, 7, size);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		q = opaque(near_realloc_on_node(p, sizes[i], node));
		CHECK(q != NULL && malloc_usable_size(q) >= sizes[i]);
		CHECK(filled_with(q, 7, size < sizes[i] ? size : sizes[i]));
		p = q;
		size = sizes[i];
		memset(p, 7, size);
	}
	CHECK(near_realloc_on_node(p, 0, node) == NULL);
	CHECK(errno == 4711);
	p = opaque(malloc(1000)); /* a block that named no node */
	memset(p, 9, 1000);
	q = opaque(near_realloc_on_node(p, 2000, node));
	CHECK(q != NULL && filled_with(q, 9, 1000));
	expect_error(near_realloc_on_node(q, SIZE_MAX, node) == NULL, ENOMEM);
	CHECK(filled_with(q, 9, 1000));
	free(q);
}

static void strangers_are_refused(void)
{
	unsigned char *p = opaque(malloc(100));
	struct near_node_stats stats;
	struct near_node_pair pair;
	size_t counts[1024];
	int good = some_node();

	memset(p, 3, 100);
	for (size_t i = 0; i < sizeof(strangers) / sizeof(strangers[0]); i++) {
		int node = stranger(i);

		expect_error(near_malloc_on_node(1, node) == NULL, EINVAL);
		expect_error(near_malloc_on_node(SIZE_MAX, node) == NULL, EINVAL);
		expect_error(near_calloc_on_node(1, 1, node) == NULL, EINVAL);
		expect_error(near_calloc_on_node(SIZE_MAX, 2, node) == NULL, EINVAL);
		expect_error(near_aligned_alloc_on_node(64, 1, node) == NULL, EINVAL);
		expect_error(near_realloc_on_node(NULL, 1, node) == NULL, EINVAL);
		expect_error(near_realloc_on_node(p, 5000, node) == NULL, EINVAL);
		expect_error(near_realloc_on_node(p, 0, node) == NULL, EINVAL);
		expect_error(near_node_stats(node, &stats, sizeof(stats)) == -1, EINVAL);
		expect_error(near_node_pair(good, node, &pair, sizeof(pair)) == -1, EINVAL);
		expect_error(near_node_pair(node, good, &pair, sizeof(pair)) == -1, EINVAL);
		expect_error(near_node_sample(node, 10, counts) == -1, EINVAL);
	}
	CHECK(near_owns(p) && filled_with(p, 3, 100));
	free(p);
}

/* ---- homes -------------------------------------------------------------------------------------------- */

static void expect_home_of(const char *block, size_t size, int wanted)
{
	size_t step = size / 7 + 1;

	for (size_t at = 0; at < size; at += step) {
		errno = 4711;
		CHECK(near_node_of(block + at) == wanted);
		CHECK(errno == (wanted < 0 ? ENODATA : 4711));
	}
	CHECK(near_node_of(block + size - 1) == wanted);
}

/* Whatever is no block that is in use has none. */
static void no_homes(void)
{
	static int in_data;
	int on_stack;
	char *run = opaque(malloc(700 * KIB)), *mapping = opaque(malloc(9 * MIB));
	void *foreign = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	free(run);
	free(mapping);
	expect_error(near_node_of(NULL) == -1, EINVAL);
	expect_error(near_node_of(&in_data) == -1, EINVAL);
	expect_error(near_node_of(&on_stack) == -1, EINVAL);
	expect_error(near_node_of((void *)(uintptr_t)&near_node_of) == -1, EINVAL);
	expect_error(near_node_of(foreign) == -1, EINVAL);
	expect_error(near_node_of((void *)16) == -1, EINVAL);
	expect_error(near_node_of((void *)UINTPTR_MAX) == -1, EINVAL);
	expect_error(near_node_of((void *)((uintptr_t)1 << 47)) == -1, EINVAL);
	expect_error(near_node_of((void *)0xdeadbeefdeadbeef) == -1, EINVAL);
	expect_error(near_node_of(run) == -1, EINVAL);
	expect_error(near_node_of(run + 300 * KIB) == -1, EINVAL);
	expect_error(near_node_of(mapping) == -1, EINVAL);
	expect_error(near_node_of(mapping + 4 * MIB) == -1, EINVAL);
	malloc_trim(0);
	expect_error(near_node_of(mapping + 4 * MIB) == -1, EINVAL);
}

static void homes(int wanted)
{
	for (size_t size = 1; size <= 16 * MIB; size = size * 2 + 3) {
		char *p = opaque(malloc(size)), *q = opaque(near_malloc_on_node(size, some_node()));

		expect_home_of(p, size, wanted);
		expect_home_of(q, size, wanted);
		free(p);
		free(q);
	}
}

static const char *report_text(void)
{
	static char text[65536];
	int file = memfd_create("report", 0);
	ssize_t size;

	CHECK(file >= 0 && near_report(file) == 0);
	size = pread(file, text, sizeof(text) - 1, 0);
	CHECK(size > 0);
	close(file);
	text[size] = '\0';
	return text;
}

static const char *info_text(void)
{
	static char text[65536];
	FILE *out = fmemopen(text, sizeof(text), "w");

	CHECK(out != NULL && malloc_info(0, out) == 0);
	fclose(out);
	return text;
}

static unsigned times(const char *text, const char *word)
{
	unsigned n = 0;

	for (; (text = strstr(text, word)) != NULL; text++)
		n++;
	return n;
}

/* ---- unbound ------------------------------------------------------------------------------------------ */

Test(near_nodes, the_highest_is_that_of_the_kernel)
{
	FILE *list = fopen("/sys/devices/system/node/online", "r");
	char text[256] = "0";
	const char *last = text;

	if (list != NULL) {
		cr_assert_not_null(fgets(text, sizeof(text), list));
		fclose(list);
	}
	for (const char *p = text; *p != '\0'; p++)
		last = *p == '-' || *p == ',' ? p + 1 : last;
	cr_assert_eq(near_max_node(), atoi(last));
}

static void unbound(void)
{
	if (near_max_node() > 0)
		skip("several nodes here");
	homes(-1);
	CHECK(times(report_text(), "lies at home") == 0);
	CHECK(times(info_text(), "<node ") == 0);
}

/* ---- bound to node 0 ---------------------------------------------------------------------------------- */

static void bound(void)
{
	const char *text, *info;
	char *p;

	homes(0);
	text = report_text();
	CHECK(times(text, "each node's memory is bound to it") == 1);
	CHECK(times(text, "lies at home") == 1);
	CHECK(times(text, "\n   0 ") == 1);
	CHECK(times(text, "freed objects, by node") == 0); /* a matrix of one */
	info = info_text();
	CHECK(times(info, "<node nr=\"0\" mapped=\"") == 1 && times(info, "<node ") == 1);
	CHECK(times(info, " resident_home=\"") == 1);
	CHECK(well_formed(info, "malloc"));
	p = opaque(malloc(3 * MIB));
	memset(p, 1, 3 * MIB);
	if (kernel_tells()) {
		size_t counts[1024];

		CHECK(near_node_resident(p, 3 * MIB, counts) == 0);
		CHECK(counts[0] == sum(counts) || near_max_node() > 0);
		CHECK(times(text, "100.0 %") >= 1);
	}
	free(p);
}

static void bound_policy(void)
{
	char *small = opaque(malloc(100)), *large = opaque(malloc(5 * MIB));
	void *blocks[] = {small, large};

	for (int i = 0; i < 2; i++) {
		unsigned long mask[16] = {0};
		int policy = -1;

		CHECK(syscall(SYS_get_mempolicy, &policy, mask, 1024, blocks[i], MPOL_F_ADDR) == 0);
		CHECK((policy == MPOL_PREFERRED || policy == MPOL_BIND) && mask[0] == 1);
	}
	free(small);
	free(large);
}

static void strict(void)
{
	CHECK(times(report_text(), "each node's memory is bound to it, strictly") == 1);
	homes(0);
	for (int i = 0; i < 3; i++) {
		char *p = opaque(malloc(2 * MIB)), *q = opaque(calloc(1, 600 * KIB));

		CHECK(!kernel_tells() || resident(p, 2 * MIB) == 2 * MIB / page_size()); /* claimed, not touched */
		CHECK(filled_with((unsigned char *)q, 0, 600 * KIB));
		p = opaque(realloc(p, 5 * MIB));
		CHECK(!kernel_tells() || resident(p, 5 * MIB) == 5 * MIB / page_size());
		memset(p, 1, 5 * MIB);
		memset(q, 1, 600 * KIB);
		free(p);
		free(q);
		malloc_trim(0);
	}
	bound_policy();
}

/* ---- each in a child ----------------------------------------------------------------------------------- */

__attribute__((constructor)) static void run_as_child(void)
{
	static const struct test_case cases[] = {
		{"sizes_and_contents", sizes_and_contents},
		{"calloc_products", calloc_products},
		{"alignments", alignments},
		{"realloc_keeps_contents", realloc_keeps_contents},
		{"strangers_are_refused", strangers_are_refused},
		{"no_homes", no_homes},
		{"unbound", unbound},
		{"bound", bound},
		{"bound_policy", bound_policy},
		{"strict", strict},
	};

	child_case(cases, sizeof(cases) / sizeof(cases[0]));
}

CHILD_TESTS(near_nodes, sizes_and_contents)
CHILD_TESTS(near_nodes, calloc_products)
CHILD_TESTS(near_nodes, alignments)
CHILD_TESTS(near_nodes, realloc_keeps_contents)
CHILD_TESTS(near_nodes, strangers_are_refused)
CHILD_TESTS(near_nodes, no_homes)

Test(near_nodes, one_that_is_not_bound_is_no_home)
{
	run_in_child("unbound", "");
}

Test(near_nodes, numa_off_is_not_bound)
{
	run_in_child("unbound", "nodes:0,numa:off");
}

Test(near_nodes_bound, blocks_have_their_home)
{
	run_bound("bound", "nodes:0");
}

Test(near_nodes_bound, the_kernel_knows)
{
	run_bound("bound_policy", "nodes:0");
}

Test(near_nodes_bound, adopting_changes_nothing_on_one_node)
{
	run_bound("bound", "nodes:0,remote_free:adopt,decay_ms:0");
}

Test(near_nodes_strict, what_is_handed_out_is_there_already)
{
	run_bound("strict", "nodes:0,numa_strict:true");
}
