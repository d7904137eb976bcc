/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * api apart|one: the calls for nodes of near/malloc.h, on every node with memory from every CPU. `one` says that memory
 * is not kept apart by nodes here: then the calls only check the node.
 */
#include <limits.h>

#include "near.h"
#include "xml.h"

static bool apart;

static void check_home(const void *ptr, size_t size, int home, const char *what)
{
	const char *p = ptr;
	size_t counts[LAB_NODES + 1] = {0}, pages = 0;

	errno = 0;
	if (!apart) {
		EXPECT(near_node_of(p) == -1 && errno == ENODATA, "%s of %zu: has a home, node %d (errno %d)", what,
		       size, near_node_of(p), errno);
		return;
	}
	EXPECT(near_node_of(p) == home && near_node_of(p + size / 2) == home && near_node_of(p + size - 1) == home,
	       "%s of %zu for node %d: near_node_of says %d, %d, %d", what, size, home, near_node_of(p),
	       near_node_of(p + size / 2), near_node_of(p + size - 1));
	EXPECT(errno == 0, "%s of %zu: near_node_of changed errno to %d", what, size, errno);
	range_where(p, size, counts);
	for (int node = 0; node <= LAB_NODES; node++)
		pages += counts[node];
	EXPECT(pages > 0 && counts[home] == pages, "%s of %zu for node %d: %zu of %zu pages lie there", what, size,
	       home, counts[home], pages);
}

static bool is_zero(const unsigned char *p, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (p[i] != 0)
			return false;
	}
	return true;
}

/* ---- placement ----------------------------------------------------------------------------------- */

static const size_t sizes[] = {1,     16,    100,    1000,   4000,    4096,    9000,
			       20000, 32768, 100000, 300000, 1000000, 2500000, 4u << 20};
enum { SIZES = sizeof(sizes) / sizeof(sizes[0]), EACH = 3 };

static void place(size_t size, int home)
{
	struct object made[EACH];

	errno = 4711;
	for (int i = 0; i < EACH; i++) {
		size_t align = (size_t)64 << (4 * i);

		made[i] = (struct object){.size = size};
		made[i].ptr = i == 0   ? near_malloc_on_node(size, home)
			      : i == 1 ? near_calloc_on_node(size, 1, home)
				       : near_aligned_alloc_on_node(align, size, home);
		EXPECT(made[i].ptr != NULL, "no memory: %zu bytes on node %d in way %d (errno %d)", size, home, i,
		       errno);
		EXPECT(errno == 4711, "errno became %d in way %d, %zu bytes on node %d", errno, i, size, home);
		if (made[i].ptr == NULL)
			continue;
		EXPECT(i != 1 || is_zero(made[i].ptr, size), "calloc of %zu on node %d is not zero", size, home);
		EXPECT(i != 2 || (uintptr_t)made[i].ptr % align == 0, "%p is not aligned to %zu", (void *)made[i].ptr,
		       align);
		object_fill(&made[i], (uintptr_t)made[i].ptr);
		check_home(made[i].ptr, size, home, i == 0 ? "malloc" : i == 1 ? "calloc" : "aligned_alloc");
		errno = 4711;
	}
	for (int i = 0; i < EACH; i++) {
		if (made[i].ptr != NULL)
			object_drop(&made[i]);
	}
}

/* What one CPU frees the next is given, so that recycled memory is seen as well as new. */
static void placement(void)
{
	for (int c = 0; c < machine.cpus; c++) {
		pin(machine.cpu[c]);
		for (int i = 0; i < home_count; i++) {
			for (int s = 0; s < SIZES; s++)
				place(sizes[s], homes[i]);
		}
	}
}

/* Mappings that are resident before they can be bound. */
static void born_resident(void)
{
	if (mlockall(MCL_FUTURE) != 0)
		return;
	for (int i = 0; i < home_count; i++)
		place(3u << 20, homes[i]);
	CHECK(munlockall() == 0);
}

/* Objects for a node that a CPU of another frees come back to the node, and to no other. */
enum { MANY = 3000 };

static void goes_home(void)
{
	static void *objects[MANY];
	size_t size = 100;

	for (int i = 0; i < home_count && apart; i++) {
		for (int c = 0; c < machine.cpus; c++) {
			int home = homes[i], node = machine.node_of[machine.cpu[c]];

			pin(machine.cpu[c]);
			for (int k = 0; k < MANY; k++)
				objects[k] = near_malloc_on_node(size, home);
			for (int k = 0; k < MANY; k++) {
				CHECK(objects[k] != NULL);
				free(objects[k]);
			}
			for (int k = 0; k < MANY; k++) {
				objects[k] = opaque(malloc(size));
				memset(objects[k], 1, size);
			}
			for (int k = 0; k < MANY && lab_status == 0; k++) {
				int got = near_node_of(objects[k]);

				EXPECT(is_expected(node, got),
				       "CPU %d of node %d freed memory of node %d and was then given some of node %d",
				       machine.cpu[c], node, home, got);
			}
			for (int k = 0; k < MANY; k++)
				free(objects[k]);
		}
	}
}

/* ---- realloc -------------------------------------------------------------------------------------- */

static void resize(size_t from, size_t to, int home, int next)
{
	struct object o = {.size = from, .ptr = near_realloc_on_node(NULL, from, home)};
	struct object kept;
	unsigned char *moved;

	CHECK(o.ptr != NULL);
	object_fill(&o, from * 3 + 1);
	kept = o;
	errno = 0;
	moved = near_realloc_on_node(o.ptr, to, next);
	EXPECT(moved != NULL && errno == 0, "realloc from %zu on node %d to %zu on node %d: errno %d", from, home, to,
	       next, errno);
	if (moved == NULL)
		return;
	/* The words are those of the smaller size, but for its end. */
	kept.ptr = moved;
	for (size_t at = 0; at + 8 <= (from < to ? from : to); at += at < 120 ? 8 : page_bytes()) {
		if (at < 128)
			object_word(&kept, at, false);
	}
	o = (struct object){.ptr = moved, .size = to};
	object_fill(&o, to);
	check_home(moved, to, next, "realloc");
	object_drop(&o);
}

static void reallocs(void)
{
	static const size_t from_to[][2] = {
		{10, 20},	  {100, 100},	       {100, 5000},	 {5000, 60},	       {40000, 50000},
		{100000, 300000}, {300000, 100000},    {1000, 3u << 20}, {3u << 20, 5u << 20}, {5u << 20, 3u << 20},
		{3u << 20, 700},  {2u << 20, 2u << 20}};

	for (int c = 0; c < machine.cpus; c++) {
		pin(machine.cpu[c]);
		for (int i = 0; i < home_count; i++) {
			for (size_t k = 0; k < sizeof(from_to) / sizeof(from_to[0]); k++) {
				resize(from_to[k][0], from_to[k][1], homes[i], homes[i]);
				resize(from_to[k][0], from_to[k][1], homes[i], other_home(homes[i]));
			}
		}
	}
}

/* ---- what is refused ------------------------------------------------------------------------------- */

static void expect_refused(const void *p, int node, const char *call)
{
	EXPECT(p == NULL && errno == EINVAL, "%s on node %d: %p, errno %d", call, node, p, errno);
	errno = 0;
}

static void refuse(int node)
{
	struct object o = {.size = 5000};

	errno = 0;
	expect_refused(near_malloc_on_node(100, node), node, "malloc");
	expect_refused(near_malloc_on_node(3u << 20, node), node, "large malloc");
	expect_refused(near_calloc_on_node(10, 10, node), node, "calloc");
	expect_refused(near_aligned_alloc_on_node(64, 100, node), node, "aligned_alloc");
	object_take(&o, 5000, machine.cpu[0]);
	object_fill(&o, 77);
	errno = 0;
	expect_refused(near_realloc_on_node(o.ptr, 9000, node), node, "realloc");
	object_drop(&o);
	if (apart) {
		struct near_node_stats stats;
		struct near_node_pair pair;
		size_t counts[LAB_NODES];

		errno = 0;
		EXPECT(near_node_stats(node, &stats, sizeof(stats)) == -1 && errno == EINVAL, "figures of node %d",
		       node);
		errno = 0;
		EXPECT(near_node_pair(node, homes[0], &pair, sizeof(pair)) == -1 && errno == EINVAL,
		       "figures of node %d", node);
		errno = 0;
		EXPECT(near_node_pair(homes[0], node, &pair, sizeof(pair)) == -1 && errno == EINVAL,
		       "figures of node %d", node);
		errno = 0;
		EXPECT(near_node_sample(node, 100, counts) == -1 && errno == EINVAL, "sample of node %d", node);
	}
}

static void refusals(void)
{
	struct near_node_stats stats;
	struct near_node_pair pair;
	size_t few[LAB_NODES];
	void *p;

	for (int node = 0; node < machine.nodes; node++) {
		if (!is_home(node))
			refuse(node);
	}
	refuse(-1);
	refuse(machine.nodes);
	refuse(1000);
	refuse(100000);
	refuse(INT_MAX);
	refuse(INT_MIN);
	for (size_t align = 0; align < 100; align += 3) {
		if (align != 0 && (align & (align - 1)) == 0)
			continue;
		errno = 0;
		EXPECT((p = near_aligned_alloc_on_node(align, 100, homes[0])) == NULL && errno == EINVAL,
		       "alignment %zu: %p, errno %d", align, p, errno);
	}
	errno = 0;
	EXPECT(near_malloc_on_node(opaque_size(SIZE_MAX - 100), homes[0]) == NULL && errno == ENOMEM,
	       "too much: errno %d", errno);
	errno = 0;
	EXPECT(near_calloc_on_node(opaque_size(SIZE_MAX / 2), 4, homes[0]) == NULL && errno == ENOMEM,
	       "overflow: errno %d", errno);
	errno = 0;
	EXPECT(near_node_stats(homes[0], NULL, sizeof(stats)) == -1 && errno == EINVAL, "stats to NULL");
	errno = 0;
	EXPECT(near_node_stats(homes[0], &stats, 0) == -1 && errno == EINVAL, "stats of no bytes");
	errno = 0;
	EXPECT(near_node_pair(homes[0], homes[0], &pair, 0) == -1 && errno == EINVAL, "pair of no bytes");
	errno = 0;
	EXPECT(near_node_sample(homes[0], 100, NULL) == -1 && errno == EINVAL, "sample to NULL");
	errno = 0;
	EXPECT(near_node_resident(few, sizeof(few), NULL) == -1 && errno == EINVAL, "resident to NULL");
	errno = 0;
	EXPECT(near_node_resident((void *)-4096l, 8192, few) == -1 && errno == EINVAL, "a range that wraps around");
}

/* ---- near_node_of, near_node_resident ---------------------------------------------------------------- */

static void expect_homeless(const void *p, const char *what)
{
	errno = 0;
	EXPECT(near_node_of(p) == -1 && errno == EINVAL, "near_node_of %s: %d, errno %d", what, near_node_of(p), errno);
}

static void strangers(void)
{
	static char in_data[100];
	char on_stack[100];
	char *mapped = map_memory(MIB), *block;

	expect_homeless(NULL, "NULL");
	expect_homeless((void *)8, "8");
	expect_homeless((void *)-1, "-1");
	expect_homeless((void *)0xffff800000001000, "a kernel address");
	expect_homeless(in_data, "static data");
	expect_homeless(on_stack, "the stack");
	expect_homeless(mapped, "a mapping");
	expect_homeless((void *)(uintptr_t)strangers, "code");
	for (int i = 0; i < 2; i++) {
		size_t size = i == 0 ? 300000 : 5 * MIB;

		block = near_malloc_on_node(size, homes[0]);
		CHECK(block != NULL);
		memset(block, 1, size);
		check_home(block, size, homes[0], "large");
		free(block);
		expect_homeless(block, "a freed large block");
		expect_homeless(block + size / 2, "the middle of a freed large block");
	}
	munmap(mapped, MIB);
	/* A small one is free for good once it has left the caches. */
	block = near_malloc_on_node(1000, homes[0]);
	CHECK(block != NULL);
	free(block);
	near_trim(0);
	expect_homeless(block, "a freed small block");
}

static void residency(void)
{
	size_t counts[LAB_NODES], page = page_bytes(), mine[LAB_NODES + 1] = {0}, bytes = 64 * page;
	char *p = map_memory(bytes);

	if (madvise(p, bytes, MADV_NOHUGEPAGE) != 0 && errno != EINVAL)
		wrong("madvise: errno %d", errno);
	memset(counts, 0xff, sizeof(counts));
	errno = 0;
	EXPECT(near_node_resident(p, bytes, counts) == 0 && errno == 0, "near_node_resident: errno %d", errno);
	for (int node = 0; node < machine.nodes; node++)
		EXPECT(counts[node] == 0, "%zu untouched pages on node %d", counts[node], node);
	for (size_t at = 0; at < bytes; at += 2 * page) {
		p[at] = 1;
		range_where(p + at, page, mine);
	}
	CHECK(near_node_resident(p + 7, bytes - 20, counts) == 0);
	for (int node = 0; node < machine.nodes; node++)
		EXPECT(counts[node] == mine[node], "%zu pages on node %d, not %zu", mine[node], node, counts[node]);
	EXPECT(mine[LAB_NODES] == 0, "%zu touched pages are on no node", mine[LAB_NODES]);
	CHECK(near_node_resident(p, 0, counts) == 0);
	for (int node = 0; node < machine.nodes; node++)
		EXPECT(counts[node] == 0, "%zu pages in no bytes", counts[node]);
	munmap(p, bytes);
	EXPECT(near_node_resident(p, bytes, counts) == 0 || errno == EFAULT || errno == ENOENT, "unmapped: errno %d",
	       errno);
}

/* ---- malloc_info ------------------------------------------------------------------------------------- */

static void info(void)
{
	static char text[1 << 16];
	FILE *stream = fmemopen(text, sizeof(text), "w");

	CHECK(stream != NULL);
	EXPECT(malloc_info(0, stream) == 0, "malloc_info failed");
	fclose(stream);
	EXPECT(xml_fault(text) == NULL, "malloc_info: %s", xml_fault(text));
	for (int i = 0; i < home_count && apart; i++) {
		char wanted[40];

		snprintf(wanted, sizeof(wanted), "<node nr=\"%d\"", homes[i]);
		EXPECT(strstr(text, wanted) != NULL, "malloc_info has no %s", wanted);
	}
}

int main(int argc, char **argv)
{
	CHECK(argc == 2 && (strcmp(argv[1], "apart") == 0 || strcmp(argv[1], "one") == 0));
	need_near();
	machine_read();
	apart = strcmp(argv[1], "apart") == 0;
	find_homes();
	EXPECT(near_max_node() == machine.nodes - 1, "near_max_node() is %d, not %d", near_max_node(),
	       machine.nodes - 1);
	born_resident();
	placement();
	goes_home();
	reallocs();
	refusals();
	strangers();
	residency();
	info();
	return lab_status;
}
