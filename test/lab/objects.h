/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* Objects with checked contents, and the nodes that their pages lie on. */
#ifndef NEAR_TEST_LAB_OBJECTS_H
#define NEAR_TEST_LAB_OBJECTS_H

#include <pthread.h>

#include "lab.h"
#include "random.h"

struct object {
	unsigned char *ptr;
	size_t size;
	uint64_t key;
	uint16_t cpu, node; /* of the thread that allocated it */
	uint16_t generation;
};

static inline size_t page_bytes(void)
{
	static size_t bytes;

	if (bytes == 0)
		bytes = (size_t)sysconf(_SC_PAGESIZE);
	return bytes;
}

static inline void object_word(const struct object *o, size_t offset, bool fill)
{
	uint64_t value = (o->key + offset) * 0x9e3779b97f4a7c15u, found;
	size_t length = o->size - offset < 8 ? o->size - offset : 8;

	if (fill) {
		memcpy(o->ptr + offset, &value, length);
	} else {
		memcpy(&found, o->ptr + offset, length);
		CHECK(memcmp(&found, &value, length) == 0);
	}
}

/* The first 128 bytes, the beginning of every page, and the end. */
static inline void object_words(const struct object *o, bool fill)
{
	size_t page = page_bytes(), at = 0;

	for (; at < o->size && at < 128; at += 8)
		object_word(o, at, fill);
	at = at < o->size ? ((uintptr_t)(o->ptr + at) + page - 1) / page * page - (uintptr_t)o->ptr : o->size;
	for (; at < o->size; at += page)
		object_word(o, at, fill);
	if (o->size > 0)
		object_word(o, (o->size - 1) & ~(size_t)7, fill);
}

static inline void object_fill(struct object *o, uint64_t key)
{
	o->key = key;
	object_words(o, true);
}

static inline void object_verify(const struct object *o)
{
	object_words(o, false);
}

/* The object is not touched. */
static inline void object_take(struct object *o, size_t size, int cpu)
{
	*o = (struct object){.size = size, .cpu = (uint16_t)cpu, .node = (uint16_t)machine.node_of[cpu]};
	o->ptr = opaque(malloc(size));
	CHECK(o->ptr != NULL);
}

static inline void object_drop(struct object *o)
{
	object_verify(o);
	free(o->ptr);
	o->ptr = NULL;
}

/* A size between the two, each doubling as likely as another. */
static inline size_t size_between(uint64_t *random, size_t least, size_t most)
{
	unsigned doublings = 0;

	while (least << (doublings + 1) <= most)
		doublings++;
	least <<= random_below(random, doublings);
	return least + random_below(random, least) + 1;
}

static inline size_t small_size(uint64_t *random)
{
	return size_between(random, 16, 32 * KIB);
}

static inline size_t middle_size(uint64_t *random)
{
	return size_between(random, 64 * KIB, MIB);
}

static inline size_t large_size(uint64_t *random)
{
	return size_between(random, 2 * MIB, 8 * MIB);
}

static inline size_t mixed_size(uint64_t *random)
{
	uint64_t dice = random_below(random, 1000);

	return dice < 950 ? small_size(random) : dice < 995 ? middle_size(random) : large_size(random);
}

/* ---- where pages lie --------------------------------------------------------------------------- */

enum { WHERE_BATCH = 512, SMALL_MOST = 256 << 10 };

enum { PATIENCE_S = 20 };

/*
 * The node of each page, all of which were touched. One that the kernel is just moving is on none; if all CPUs run in turns
 * that can be so for seconds, until who moves it runs again. Linux 6.1 does not see one either that its balancing of nodes
 * has marked, until it is read. A negative errno value if it stays so; one that was lost does, for reading finds zeros.
 */
static inline void pages_where(void **pages, size_t n, int *node)
{
	for (uint64_t end = now_ns() + PATIENCE_S * 1000000000ull;; nap_ms(2)) {
		size_t there = 0;

		CHECK(syscall(SYS_move_pages, 0, n, pages, NULL, node, 0) == 0);
		for (size_t i = 0; i < n; i++) {
			if (node[i] >= 0)
				there++;
			else
				(void)*(volatile char *)pages[i];
		}
		if (there == n || now_ns() > end)
			return;
	}
}

/* counts[node] grows by the resident pages of the range there, counts[LAB_NODES] by the others. */
static inline void range_where(const void *start, size_t bytes, size_t counts[LAB_NODES + 1])
{
	uintptr_t page = page_bytes(), at = (uintptr_t)start / page * page, end = (uintptr_t)start + bytes;
	void *pages[WHERE_BATCH];
	int nodes[WHERE_BATCH];

	while (at < end) {
		size_t n = 0;

		for (; at < end && n < WHERE_BATCH; at += page)
			pages[n++] = (void *)at;
		pages_where(pages, n, nodes);
		for (size_t i = 0; i < n; i++)
			counts[nodes[i] >= 0 && nodes[i] < LAB_NODES ? nodes[i] : LAB_NODES]++;
	}
}

/* Pages of objects up to 256 KiB and of larger ones, and how many of them lie where they should. */
struct share {
	uint64_t small_pages, small_local, large_pages, large_local;
};

static inline void share_add(struct share *sum, const struct share *more)
{
	sum->small_pages += more->small_pages;
	sum->small_local += more->small_local;
	sum->large_pages += more->large_pages;
	sum->large_local += more->large_local;
}

/* A page with the node of the CPU that wanted it, in one number: a page counts once for each node that did. */
struct page_list {
	uint64_t *items;
	size_t count, most;
};

static inline void page_list_open(struct page_list *list, size_t most)
{
	*list = (struct page_list){.items = map_memory(most * 8), .most = most};
}

static inline void page_list_close(struct page_list *list)
{
	if (list->items != NULL)
		munmap(list->items, list->most * 8);
}

static inline void page_list_add(struct page_list *list, const struct object *o)
{
	uintptr_t page = page_bytes(), end = (uintptr_t)o->ptr + o->size;

	for (uintptr_t at = (uintptr_t)o->ptr / page * page; at < end; at += page) {
		CHECK(list->count < list->most);
		list->items[list->count++] = at | o->node;
	}
}

static inline void page_list_sort(struct page_list *list)
{
	uint64_t *v = list->items;

	for (size_t gap = list->count / 2; gap > 0; gap = gap == 2 ? 1 : gap * 5 / 11) {
		for (size_t i = gap; i < list->count; i++) {
			uint64_t item = v[i];
			size_t k = i;

			for (; k >= gap && v[k - gap] > item; k -= gap)
				v[k] = v[k - gap];
			v[k] = item;
		}
	}
}

static inline void page_list_ask(struct page_list *list, uint64_t *pages, uint64_t *local)
{
	uint64_t last = 0, mask = page_bytes() - 1;
	void *batch[WHERE_BATCH];
	int wanted[WHERE_BATCH], nodes[WHERE_BATCH];
	size_t n = 0;

	page_list_sort(list);
	for (size_t i = 0; i <= list->count; i++) {
		if (n == WHERE_BATCH || (i == list->count && n > 0)) {
			pages_where(batch, n, nodes);
			for (size_t k = 0; k < n; k++)
				*local += is_expected(wanted[k], nodes[k]);
			*pages += n;
			n = 0;
		}
		if (i == list->count || list->items[i] == last)
			continue;
		last = list->items[i];
		batch[n] = (void *)(last & ~mask);
		wanted[n++] = (int)(last & mask);
	}
}

/* ---- pages that lie elsewhere, in detail --------------------------------------------------------- */

/* There only under the library. */
extern int near_node_of(const void *ptr) __attribute__((weak));

static unsigned explain_left; /* lines to write about them */

/* What the kernel says about the mapping of an address: its policy and pages by node. */
static inline void explain_mapping(uintptr_t address)
{
	static char text[1 << 20];
	char *line, *next, *best = NULL;

	if (!read_text("/proc/self/numa_maps", text, sizeof(text)))
		return;
	for (line = text; *line != '\0' && strtoul(line, NULL, 16) <= address; line = next) {
		best = line;
		next = strchr(line, '\n');
		next = next != NULL ? next + 1 : line + strlen(line);
	}
	if (best != NULL)
		fprintf(stderr, "    mapping: %.*s\n", (int)strcspn(best, "\n"), best);
}

static inline void explain_object(const struct object *o)
{
	uintptr_t page = page_bytes(), end = (uintptr_t)o->ptr + o->size;

	for (uintptr_t at = (uintptr_t)o->ptr / page * page; at < end && explain_left > 0; at += page) {
		void *where = (void *)at;
		int node;

		pages_where(&where, 1, &node);
		if (is_expected(o->node, node))
			continue;
		explain_left--;
		fprintf(stderr,
			"  page %#lx lies on %d, not %d: object %p of %zu bytes, from CPU %d, generation %d, home %d\n",
			at, node, o->node, (void *)o->ptr, o->size, o->cpu, o->generation,
			near_node_of ? near_node_of(o->ptr) : -2);
		explain_mapping(at);
	}
}

static pthread_mutex_t explain_lock = PTHREAD_MUTEX_INITIALIZER;

/* Adds the objects' pages to *share. All of them must have been touched. */
static inline void objects_where(const struct object *objects, size_t count, struct share *share)
{
	struct page_list small = {.count = 0}, large = {.count = 0};
	uint64_t few[16]; /* for one small object, without a mapping */
	struct share mine = {0};
	size_t small_most = 0, large_most = 0;

	for (size_t i = 0; i < count; i++) {
		if (objects[i].ptr != NULL)
			*(objects[i].size <= SMALL_MOST ? &small_most : &large_most) +=
				objects[i].size / page_bytes() + 2;
	}
	if (small_most <= 16)
		small = (struct page_list){.items = few, .most = 16};
	else
		page_list_open(&small, small_most);
	if (large_most > 0)
		page_list_open(&large, large_most);
	for (size_t i = 0; i < count; i++) {
		if (objects[i].ptr != NULL)
			page_list_add(objects[i].size <= SMALL_MOST ? &small : &large, &objects[i]);
	}
	page_list_ask(&small, &mine.small_pages, &mine.small_local);
	page_list_ask(&large, &mine.large_pages, &mine.large_local);
	if (small.items != few)
		page_list_close(&small);
	page_list_close(&large);
	share_add(share, &mine);
	if (explain_left > 0 && (mine.small_local < mine.small_pages || mine.large_local < mine.large_pages)) {
		pthread_mutex_lock(&explain_lock);
		for (size_t i = 0; i < count; i++) {
			if (objects[i].ptr != NULL)
				explain_object(&objects[i]);
		}
		pthread_mutex_unlock(&explain_lock);
	}
}

#endif
