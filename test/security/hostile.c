/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Every argument of every function that takes a size, an alignment, a count, a node or a length is given what an
 * attacker would: zero, all ones, both sides of PTRDIFF_MAX and of each power of two, negative numbers. A call answers
 * NULL with ENOMEM or EINVAL, or a block with room for just what was asked for; nothing is ever given short.
 */
#include <limits.h>

#include "near/malloc.h"
#include "check.h"
#include "names.h"

#define WEAK_NEAR(name) extern __typeof__(name) name WEAK
WEAK_NEAR(near_malloc_on_node);
WEAK_NEAR(near_calloc_on_node);
WEAK_NEAR(near_aligned_alloc_on_node);
WEAK_NEAR(near_realloc_on_node);
WEAK_NEAR(near_malloc_at_least);
WEAK_NEAR(near_good_size);
WEAK_NEAR(near_trim);
WEAK_NEAR(near_owns);
WEAK_NEAR(near_node_of);
WEAK_NEAR(near_node_resident);
WEAK_NEAR(near_node_stats);
WEAK_NEAR(near_node_pair);
WEAK_NEAR(near_node_sample);
WEAK_NEAR(near_on_limit);
WEAK_NEAR(near_residence);
WEAK_NEAR(near_stats);
WEAK_NEAR(near_report);
WEAK_NEAR(near_max_node);

static size_t values[300];
static int value_count;
static const int nodes[] = {INT_MIN, INT_MIN + 1, -65536, -2,	 -1,	      339,    340,
			    1023,    1024,	  65535,  65536, INT_MAX - 1, INT_MAX};

/* All around each power of two, and around zero from below. */
static void make_values(void)
{
	for (int bit = 0; bit < 64; bit++) {
		for (int off = -1; off <= 1; off++)
			values[value_count++] = ((size_t)1 << bit) + (size_t)off;
	}
	for (size_t down = 1; down <= 1 << 20; down *= 2)
		values[value_count++] = 0 - down;
	for (size_t down = 4096; down <= 8192; down += 4096) {
		values[value_count++] = (size_t)PTRDIFF_MAX - down;
		values[value_count++] = SIZE_MAX - down + 1;
		values[value_count++] = (size_t)PTRDIFF_MAX - down + 1;
	}
	values[value_count++] = SIZE_MAX / 3;
	values[value_count++] = SIZE_MAX / 3 + 1;
}

static const char *current;
static size_t first, second, third;

/* Says which call it was before the process ends. */
static void expect(bool condition, const char *what)
{
	char line[200];

	if (condition)
		return;
	snprintf(line, sizeof(line), "%s(%#zx, %#zx, %#zx): %s, errno %d\n", current, first, second, third, what,
		 errno);
	say(2, line);
	abort();
}

#define CALL(name, a, b, c) \
	(current = (name), first = (size_t)(a), second = (size_t)(b), third = (size_t)(c), errno = 0)

/* What a function gave for `count` times `size`; `align` is 0 if it is none. Writes to both ends, and frees it. */
static void judge(void *block, size_t count, size_t size, size_t align)
{
	char *bytes = block;
	size_t wanted = 0;
	bool overflow = __builtin_mul_overflow(count, size, &wanted);

	if (block == NULL) {
		expect(errno == ENOMEM || errno == EINVAL, "an error without a reason");
		expect(overflow || wanted > 64 || align != 16, "little is refused");
		return;
	}
	expect(align != 0, "no power of two");
	expect(!overflow && wanted <= PTRDIFF_MAX, "a block that cannot be");
	expect(((uintptr_t)block & (align - 1)) == 0, "not aligned");
	expect(malloc_usable_size(block) >= wanted, "given short");
	if (wanted > 0)
		bytes[0] = bytes[wanted - 1] = 1;
	free(block);
}

static void sizes(size_t size)
{
	struct near_sized sized;
	size_t good;

	CALL("malloc", size, 0, 0);
	judge(malloc(size), 1, size, 16);
	CALL("valloc", size, 0, 0);
	judge(valloc(size), 1, size, 4096);
	CALL("pvalloc", size, 0, 0);
	judge(pvalloc(size), 1, size, 4096);
	CALL("operator new", size, 0, 0);
	judge(cxx_new_nothrow(size, NULL), 1, size, 16);
	CALL("realloc of NULL", size, 0, 0);
	judge(realloc(NULL, size), 1, size, 16);
	CALL("near_malloc_at_least", size, 0, 0);
	sized = near_malloc_at_least(size);
	expect((sized.ptr == NULL) == (sized.size == 0) && (sized.ptr == NULL || sized.size >= size), "told wrongly");
	judge(sized.ptr, 1, size, 16);
	CALL("near_good_size", size, 0, 0);
	good = near_good_size(size);
	expect(good == 0 ? size > PTRDIFF_MAX - 65536 : good >= size, "told wrongly");
	CALL("near_trim", size, 0, 0);
	near_trim(size);
	malloc_trim(size);
}

/* A block that is there keeps its contents when it is refused. */
static void resized(size_t size)
{
	for (size_t before = 24; before <= 3 << 20; before *= 50) {
		char *block = malloc(before), *moved;

		CHECK(block != NULL);
		block[0] = block[before - 1] = 7;
		CALL("realloc", before, size, 0);
		moved = realloc(block, size);
		if (size == 0)
			continue;
		if (moved == NULL) {
			expect(errno == ENOMEM && block[0] == 7 && block[before - 1] == 7, "the old block has changed");
			free(block);
			continue;
		}
		expect(moved[0] == 7 && (size < before || moved[before - 1] == 7), "the contents are lost");
		judge(moved, 1, size, 16);
	}
}

static void products(size_t count, size_t size)
{
	CALL("calloc", count, size, 0);
	judge(calloc(count, size), count, size, 16);
	CALL("reallocarray", count, size, 0);
	judge(reallocarray(NULL, count, size), count, size, 16);
	CALL("near_calloc_on_node", count, size, 0);
	judge(near_calloc_on_node(count, size, 0), count, size, 16);
}

static size_t rounded(size_t align)
{
	size_t power = 16;

	while (power < align && power <= SIZE_MAX / 2)
		power *= 2;
	return power;
}

static void alignments(size_t align, size_t size)
{
	bool power = align != 0 && (align & (align - 1)) == 0;
	void *block = NULL;
	int error;

	CALL("aligned_alloc", align, size, 0);
	block = aligned_alloc(align, size);
	expect(power || errno == EINVAL, "no power of two");
	judge(block, 1, size, power ? align : 0);
	CALL("near_aligned_alloc_on_node", align, size, 0);
	block = near_aligned_alloc_on_node(align, size, 0);
	expect(power || errno == EINVAL, "no power of two");
	judge(block, 1, size, power ? align : 0);
	CALL("memalign", align, size, 0);
	judge(memalign(align, size), 1, size, rounded(align));
	CALL("operator new", size, align, 0);
	judge(cxx_new_aligned_nothrow(size, align, NULL), 1, size, power ? align : 0);
	CALL("posix_memalign", align, size, 0);
	block = &error;
	error = posix_memalign(&block, align, size);
	expect(errno == 0, "errno was changed");
	expect(power && align >= 8 ? error != EINVAL : error == EINVAL, "alignment");
	expect(error == 0 || block == &error, "the pointer was written to");
	errno = error;
	judge(error == 0 ? block : NULL, 1, size, power ? align : 0);
}

static void on_nodes(int node)
{
	static char out[4096];
	char *block = malloc(100);

	CHECK(block != NULL);
	CALL("calls for a node", node, 0, 0);
	expect(near_malloc_on_node(100, node) == NULL && errno == EINVAL, "malloc");
	expect(near_malloc_on_node(SIZE_MAX, node) == NULL && errno == EINVAL, "malloc of much");
	expect(near_calloc_on_node(SIZE_MAX, SIZE_MAX, node) == NULL && errno == EINVAL, "calloc");
	expect(near_aligned_alloc_on_node(64, 100, node) == NULL && errno == EINVAL, "aligned_alloc");
	expect(near_realloc_on_node(block, 0, node) == NULL && errno == EINVAL, "realloc to nothing");
	expect(near_realloc_on_node(block, 5000, node) == NULL && errno == EINVAL, "realloc");
	expect(near_owns(block) && malloc_usable_size(block) >= 100, "the block was freed");
	expect(near_node_stats(node, (void *)out, sizeof(out)) == -1 && errno == EINVAL, "stats");
	expect(near_node_pair(node, 0, (void *)out, sizeof(out)) == -1 && errno == EINVAL, "pair, on");
	expect(near_node_pair(0, node, (void *)out, sizeof(out)) == -1 && errno == EINVAL, "pair, home");
	expect(near_node_sample(node, 10, (void *)out) == -1 && errno == EINVAL, "sample");
	free(block);
}

/* Figures fill no more than there is, whatever size is named. */
static void figures(size_t size)
{
	enum { ROOM = 4096 };
	static char out[ROOM];

	CALL("figures", size, 0, 0);
	memset(out, 0x5a, sizeof(out));
	expect(near_stats((void *)out, size) == (size == 0 ? -1 : 0), "near_stats");
	expect(near_node_stats(0, (void *)out, size) == (size == 0 ? -1 : 0), "near_node_stats");
	expect(near_node_pair(0, 0, (void *)out, size) == (size == 0 ? -1 : 0), "near_node_pair");
	expect(size > 64 || near_residence((void *)out, size) == (size == 0 ? -1 : 0),
	       "near_residence"); /* it takes long */
	expect(size >= ROOM || out[size] == 0x5a, "more than was asked for");
	expect(out[ROOM - 1] == 0x5a, "more than there is");
	expect(near_stats(NULL, size) == -1 && near_residence(NULL, size) == -1, "NULL");
}

/* Pointers that are none of ours: asking about them tells, and harms nothing. */
static void pointers(void)
{
	static size_t counts[1024];
	char *block = malloc(100), *large = malloc(3 << 20), inside;

	CHECK(block != NULL && large != NULL && near_max_node() < 1024);
	for (int i = 0; i < value_count; i++) {
		void *odd = (void *)values[i];

		CALL("pointer", odd, 0, 0);
		expect(!near_owns(odd), "near_owns");
		expect(near_node_of(odd) == -1 && errno == EINVAL, "near_node_of");
	}
	CALL("pointer", block, 0, 0);
	expect(!near_owns(&inside) && !near_owns(large + 1) && near_owns(large) && near_owns(block), "near_owns");
	expect(near_node_resident(block, SIZE_MAX, counts) == -1 && errno == EINVAL, "a range that wraps around");
	expect(near_node_resident(block, 100, NULL) == -1 && errno == EINVAL, "nowhere to tell");
	expect(near_node_sample(0, SIZE_MAX, counts) == 0 && near_node_sample(0, 0, counts) == 0, "how many pages");
	expect(near_node_sample(0, 1, NULL) == -1 && errno == EINVAL, "nowhere to tell");
	expect(near_report(-1) == -1 && errno == EBADF, "near_report");
	expect(near_report(INT_MIN) == -1 && near_report(INT_MAX) == -1, "near_report");
	expect(malloc_info(-1, stdout) == -1 && malloc_info(INT_MAX, NULL) == -1, "malloc_info");
	for (int parameter = -20; parameter < 20; parameter++)
		expect(mallopt(parameter, INT_MIN) == 1, "mallopt");
	near_on_limit(NULL, NULL);
	free(block);
	free(large);
}

int main(void)
{
	if (near_malloc_on_node == NULL || near_stats == NULL)
		skip("not under nearmalloc");
	make_values();
	for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++)
		on_nodes(nodes[i]);
	pointers();
	for (int i = 0; i < value_count; i++) {
		figures(values[i]);
		sizes(values[i]);
		resized(values[i]);
	}
	for (int i = 0; i < value_count; i++) {
		/* A third of the pairs, in which each value meets each neighbourhood. */
		for (int k = i % 3; k < value_count; k += 3) {
			products(values[i], values[k]);
			alignments(values[i], values[k]);
		}
	}
	return 0;
}
