/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * brim fall NODE [NODE]...     the nodes are filled but for little, then more is wanted on the first than fits there
 * brim strict NODE             the same with numa_strict:true: nothing may come from elsewhere
 * brim trimmed NODE            the same, after much was freed and given back in the middle
 *
 * What fills a node is huge pages that nobody uses, so only in a machine of the laboratory, and then small ones. They stop
 * well above the reserve of the kernel: nobody must be killed. fall writes the library's report to stdout while the node is
 * full.
 */
#include <linux/mempolicy.h>

#include "near.h"

enum { LEFT_MIB = 96, WANTED_MIB = 192, STEP_MIB = 32, HUGE_MIB = 2 };

/* ---- filling a node ------------------------------------------------------------------------------ */

/* A line of the node's meminfo, in MiB. */
static size_t node_mib(int node, const char *line)
{
	char path[80], text[4096], *at;

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/meminfo", node);
	CHECK(read_text(path, text, sizeof(text)));
	at = strstr(text, line);
	CHECK(at != NULL);
	return strtoul(at + strlen(line), NULL, 10) / 1024;
}

static size_t free_mib(int node)
{
	return node_mib(node, "MemFree:");
}

/* How many huge pages the node has set aside; what is there of those that were asked for. */
static size_t set_huge_pages(int node, size_t pages)
{
	char path[120], text[40];
	int fd;

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/hugepages/hugepages-2048kB/nr_hugepages", node);
	snprintf(text, sizeof(text), "%zu\n", pages);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		skip("this kernel has no huge pages to fill a node with");
	CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
	CHECK(read_text(path, text, sizeof(text)));
	return strtoul(text, NULL, 10);
}

static size_t huge_pages[LAB_NODES];

/* Memory of this process, to its end, for there may be too few free pages in a row. Preferred: nobody is killed for it. */
static void take_small_pages(int node, size_t mib)
{
	unsigned long mask = 1ul << node;
	void *start = map_memory(mib * MIB);

	CHECK(syscall(SYS_mbind, start, mib * MIB, MPOL_PREFERRED, &mask, LAB_NODES + 1, 0) == 0);
	memset(start, 1, mib * MIB);
}

static void fill_node(int node, size_t left)
{
	size_t free = free_mib(node);

	if (free > left)
		huge_pages[node] = set_huge_pages(node, huge_pages[node] + (free - left) / HUGE_MIB);
	free = free_mib(node);
	if (free > left)
		take_small_pages(node, free - left);
	tell("node %d: %zu MiB are free\n", node, free_mib(node));
	EXPECT(free_mib(node) <= left + left / 4, "node %d cannot be filled: %zu MiB are free", node, free_mib(node));
}

static void empty_nodes(void)
{
	for (int node = 0; node < machine.nodes; node++) {
		if (huge_pages[node] > 0)
			set_huge_pages(node, 0);
	}
}

/* ---- objects until there are enough, or no more ------------------------------------------------- */

struct heap {
	struct object *objects;
	size_t count, most, bytes;
	uint64_t random;
	int cpu;
};

static void heap_open(struct heap *heap, int cpu)
{
	*heap = (struct heap){.most = 1 << 19, .cpu = cpu, .random = 5};
	heap->objects = map_memory(heap->most * sizeof(heap->objects[0]));
}

/* False with ENOMEM is an answer. */
static bool heap_add(struct heap *heap, size_t size)
{
	struct object *o = &heap->objects[heap->count];

	CHECK(heap->count < heap->most);
	*o = (struct object){.size = size, .cpu = (uint16_t)heap->cpu, .node = (uint16_t)machine.node_of[heap->cpu]};
	errno = 0;
	o->ptr = opaque(malloc(size));
	if (o->ptr == NULL) {
		CHECK(errno == ENOMEM);
		return false;
	}
	object_fill(o, random_next(&heap->random));
	heap->count++;
	heap->bytes += size;
	return true;
}

static void heap_drop_from(struct heap *heap, size_t first)
{
	for (size_t i = first; i < heap->count; i++) {
		heap->bytes -= heap->objects[i].size;
		object_drop(&heap->objects[i]);
	}
	heap->count = first;
}

static void heap_where(const struct heap *heap, size_t first, size_t counts[LAB_NODES + 1])
{
	for (size_t i = first; i < heap->count; i++)
		range_where(heap->objects[i].ptr, heap->objects[i].size, counts);
}

/* ---- fall ---------------------------------------------------------------------------------------- */

static bool filled[LAB_NODES];

/* The nodes that are not filled and the nearest to the first of those that are. */
static bool is_next(int node, int from)
{
	unsigned least = UINT32_MAX;

	for (int to = 0; to < machine.nodes; to++) {
		if (machine.memory[to] && !filled[to] && machine.distance[from][to] < least)
			least = machine.distance[from][to];
	}
	return machine.memory[node] && !filled[node] && machine.distance[from][node] == least;
}

static size_t all_pages(const size_t counts[LAB_NODES + 1])
{
	size_t pages = 0;

	for (int to = 0; to < machine.nodes; to++)
		pages += counts[to];
	return pages;
}

/*
 * Adds WANTED_MIB, and then until a quarter lies elsewhere or there is twice that. The kernel does not tell as free what
 * the CPUs have on their lists: of a node of 1 GiB that may be 128 MiB, which come back by and by.
 */
static void heap_brim_over(struct heap *heap, int node, size_t counts[LAB_NODES + 1])
{
	memset(counts, 0, (LAB_NODES + 1) * sizeof(counts[0]));
	for (size_t wanted = WANTED_MIB; wanted <= 2 * WANTED_MIB; wanted += STEP_MIB) {
		size_t first = heap->count;

		while (heap->bytes < wanted * MIB)
			CHECK(heap_add(heap, mixed_size(&heap->random)));
		heap_where(heap, first, counts);
		if ((all_pages(counts) - counts[node]) * 4 > all_pages(counts))
			break;
	}
}

static void fall(int node)
{
	size_t counts[LAB_NODES + 1], sampled[LAB_NODES], pages, elsewhere = 0;
	struct heap heap;

	heap_open(&heap, cpu_of_node(node));
	heap_brim_over(&heap, node, counts);
	pages = all_pages(counts);
	for (int to = 0; to < machine.nodes; to++) {
		tell("node %d: %zu pages\n", to, counts[to]);
		EXPECT(counts[to] == 0 || filled[to] || is_next(to, node),
		       "%zu pages lie on node %d, which is not the next", counts[to], to);
	}
	EXPECT(counts[LAB_NODES] == 0, "%zu pages lie nowhere", counts[LAB_NODES]);
	EXPECT(counts[node] > 0, "nothing lies on node %d", node);
	EXPECT((pages - counts[node]) * 4 > pages, "only %zu of %zu pages lie elsewhere", pages - counts[node], pages);
	for (size_t i = 0; i < heap.count; i += heap.count / 200 + 1)
		EXPECT(near_node_of(heap.objects[i].ptr) >= 0, "an object without a home");
	CHECK(near_node_sample(node, 1000, sampled) == 0);
	for (int to = 0; to < machine.nodes; to++)
		elsewhere += to == node ? 0 : sampled[to];
	EXPECT(elsewhere > 0, "of a sample of node %d no page lies elsewhere", node);
	CHECK(near_report(1) == 0);
	heap_drop_from(&heap, 0);
	/* and again, from what was freed */
	while (heap.bytes < WANTED_MIB * MIB)
		CHECK(heap_add(&heap, mixed_size(&heap.random)));
	heap_drop_from(&heap, 0);
}

/* ---- strict -------------------------------------------------------------------------------------- */

static void expect_all_on(const struct heap *heap, int node, const char *what)
{
	size_t counts[LAB_NODES + 1] = {0};

	heap_where(heap, 0, counts);
	EXPECT(counts[node] > 0, "%s: nothing lies on node %d", what, node);
	for (int to = 0; to <= LAB_NODES; to++)
		EXPECT(to == node || counts[to] == 0, "%s: %zu pages lie on node %d", what, counts[to], to);
	explain_left = lab_status != 0 ? 5 : 0;
	for (size_t i = 0; i < heap->count && explain_left > 0; i++)
		explain_object(&heap->objects[i]);
}

/* Allocates until it is refused, which it must be. Returns the bytes. */
static size_t until_refused(struct heap *heap, size_t size, int node)
{
	while (heap->bytes < 2 * WANTED_MIB * MIB && heap_add(heap, size))
		continue;
	EXPECT(heap->bytes < 2 * WANTED_MIB * MIB, "%zu bytes each: %zu MiB on a node with %d, and none refused", size,
	       heap->bytes / MIB, LEFT_MIB);
	expect_all_on(heap, node, "until it was refused");
	return heap->bytes;
}

/* A realloc that is refused leaves the block as it was. */
static void grow_in_vain(struct heap *heap)
{
	struct object *o = &heap->objects[0];
	void *grown;

	errno = 0;
	grown = realloc(o->ptr, LEFT_MIB * MIB);
	EXPECT(grown == NULL && errno == ENOMEM, "realloc on a full node: %p, errno %d", grown, errno);
	if (grown != NULL)
		o->ptr = grown;
	object_verify(o);
}

static int other_node(int node)
{
	for (int to = 0; to < machine.nodes; to++) {
		if (to != node && machine.memory[to])
			return to;
	}
	return -1;
}

/* Memory of other nodes can be had by name. */
static void ask_elsewhere(int node)
{
	size_t counts[LAB_NODES + 1] = {0};
	int other = other_node(node);
	char *there;

	if (other < 0)
		return;
	there = near_malloc_on_node(100000, other);
	EXPECT(there != NULL, "node %d is full, and so there is nothing on node %d", node, other);
	if (there == NULL)
		return;
	memset(there, 1, 100000);
	range_where(there, 100000, counts);
	for (int to = 0; to <= LAB_NODES; to++)
		EXPECT(to == other || counts[to] == 0, "%zu pages for node %d lie on node %d", counts[to], other, to);
	free(there);
}

/* What is freed after a refusal can be had again, by objects of other sizes too. */
static void strict(int node)
{
	static const size_t sizes[] = {1000, 3u << 20, 20000, 300000, 1000};
	struct heap heap;

	heap_open(&heap, cpu_of_node(node));
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint64_t began = now_ns();
		size_t bytes = until_refused(&heap, sizes[i], node);

		tell("%zu bytes each: %zu MiB, %lu ms\n", sizes[i], bytes / MIB, (now_ns() - began) / 1000000);
		EXPECT(bytes >= LEFT_MIB * MIB / 3, "%zu bytes each: only %zu MiB", sizes[i], bytes / MIB);
		if (i == 0)
			grow_in_vain(&heap);
		ask_elsewhere(node);
		heap_drop_from(&heap, 0);
	}
}

/* Memory that was given back inside of spans must be there before it is handed out again. */
static void trimmed(int node)
{
	struct heap heap;
	size_t kept = 0;

	heap_open(&heap, cpu_of_node(node));
	while (heap.bytes < LEFT_MIB * MIB * 4 / 3)
		CHECK(heap_add(&heap, 3000));
	/* one in sixteen stays: hardly a span is free, most pages are */
	for (size_t i = 0; i < heap.count; i++) {
		if (i % 16 == 0) {
			heap.objects[kept++] = heap.objects[i];
		} else {
			heap.bytes -= heap.objects[i].size;
			object_drop(&heap.objects[i]);
		}
	}
	heap.count = kept;
	tell("%zu MiB were given back\n", near_trim(0) / MIB);
	fill_node(node, LEFT_MIB / 2);
	until_refused(&heap, 3000, node);
	grow_in_vain(&heap);
	heap_drop_from(&heap, 0);
	CHECK(heap_add(&heap, 3000));
	heap_drop_from(&heap, 0);
}

int main(int argc, char **argv)
{
	bool after_trim;
	int node;

	CHECK(argc >= 3);
	if (getenv("LAB_MACHINE") == NULL)
		skip("nodes are filled in the laboratory only");
	need_near();
	machine_read();
	node = atoi(argv[2]);
	CHECK(node >= 0 && node < machine.nodes && machine.memory[node]);
	if (cpu_of_node(node) < 0)
		skip("the node has no CPU");
	pin(cpu_of_node(node));
	after_trim = strcmp(argv[1], "trimmed") == 0;
	for (int i = 2; i < argc; i++) {
		set_huge_pages(atoi(argv[i]), 0); /* what a killed run may have left */
		fill_node(atoi(argv[i]), i > 2 ? LEFT_MIB / 2 : after_trim ? 2 * LEFT_MIB : LEFT_MIB);
		filled[atoi(argv[i])] = true;
	}
	if (strcmp(argv[1], "fall") == 0)
		fall(node);
	else if (strcmp(argv[1], "strict") == 0)
		strict(node);
	else if (after_trim)
		trimmed(node);
	else
		wrong("no such case: %s", argv[1]);
	empty_nodes();
	return lab_status;
}
