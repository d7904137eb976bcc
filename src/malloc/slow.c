/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * What the fast paths leave over: empty and full bins, the locked mode, large blocks, shortage, start-up.
 *
 * Every lock below refuses the thread that holds it already, so a signal handler that interrupted the allocator
 * ends up with a mapping of its own at worst.
 */
#include <errno.h>
#include <string.h>

#include "keep/trim.h"
#include "malloc/fast.h"
#include "os/os.h"

COLD void *near__enomem(void)
{
	errno = ENOMEM;
	return NULL;
}

/* The node that memory should come from when there is no table to tell. */
static unsigned current_node(const struct cpu_table *table)
{
	int cpu;

	if (table)
		return table->node;
	if (near__nodes < 2)
		return 0;
	cpu = near__os_cpu();
	return cpu >= 0 && cpu < OS_MAX_CPUS ? near__topology.node_of_cpu[cpu] : 0;
}

static struct cpu_table *current_table(void)
{
	return likely(load_acquire(&near__mode) != NEAR_MODE_EARLY) ? near__cache_table() : NULL;
}

/* From the bin itself: the sizes beyond the fast path's table, and everything in the locked mode. */
static void *pop(struct cpu_table *table, unsigned class)
{
	if (!table)
		return NULL;
	if (near__mode == NEAR_MODE_RSEQ)
		return section_pop(LOCAL_BASE, (uint64_t)class * BIN_WORDS);
	return near__locked_pop(&table->lock, &table->bins[bin_of(table->node, class)]);
}

static bool push(struct cpu_table *table, unsigned bin, void *object)
{
	if (!table || near__mode == NEAR_MODE_EARLY)
		return false;
	if (near__mode == NEAR_MODE_RSEQ)
		return !section_push(CPU_BASE, (uint64_t)bin * BIN_WORDS, object);
	return !near__locked_push(&table->lock, &table->bins[bin], object);
}

/* Any other node in the order of distance, an object at a time. */
static void *from_other_nodes(unsigned node, unsigned class)
{
	void *object;

	for (unsigned i = 1; i < near__nodes; i++) {
		if (near__span_take(near__heap[node]->order[i], class, &object, 1))
			return object;
	}
	return NULL;
}

static void *alloc_small(size_t size)
{
	struct cpu_table *table = current_table();
	unsigned class = class_of(size), node = current_node(table);
	void *object = pop(table, class);
	bool zeroed;

	if (likely(object != NULL))
		return object;
	if (table)
		count_lossy(&table->counts.slow_malloc, 1ull);
	object = near__mode == NEAR_MODE_EARLY ? NULL : near__cache_alloc(table, node, class);
	if (likely(object != NULL))
		return object;
	if (near__span_take(node, class, &object, 1))
		return object;
	object = from_other_nodes(node, class);
	if (object)
		return object;
	return near__large_alloc(near__class[class].bytes, (size_t)near__class[class].align * MAP_PAGE, node, &zeroed);
}

void *near__alloc_large(size_t size, size_t align, bool *zeroed)
{
	unsigned node = current_node(current_table());
	const uint16_t *order = near__heap[node]->order;

	for (unsigned i = 0; i < near__nodes; i++) {
		void *block = near__large_alloc(size, align, order[i], zeroed);

		if (block)
			return block;
	}
	return NULL;
}

static void *alloc(size_t size, bool *zeroed)
{
	*zeroed = false;
	return size <= CLASS_LARGEST ? alloc_small(size) : near__alloc_large(size, MAP_PAGE, zeroed);
}

static void *alloc_or_trim(size_t size, bool *zeroed)
{
	void *block;

	if (unlikely(size > PTRDIFF_MAX) || unlikely(!near__init()))
		return near__enomem();
	block = alloc(size, zeroed);
	if (likely(block != NULL))
		return block;
	/* Address space or memory has ended: perhaps what the caches hold will do. */
	if (!near__trim_for(size))
		return near__enomem();
	block = alloc(size, zeroed);
	return block ? block : near__enomem();
}

void *near__malloc_slow(size_t size)
{
	bool zeroed;

	return alloc_or_trim(size, &zeroed);
}

void *near__calloc(size_t count, size_t size)
{
	size_t bytes;
	bool zeroed = false;
	void *block;

	if (unlikely(__builtin_mul_overflow(count, size, &bytes)))
		return near__enomem();
	if (bytes < near__small_limit)
		block = fast_malloc(bytes);
	else
		block = alloc_or_trim(bytes, &zeroed);
	return block && !zeroed ? memset(block, 0, bytes) : block;
}

void near__free_slow(void *ptr, const char *call)
{
	struct cpu_table *table;
	struct block block;

	if (!ptr)
		return;
	block = near__lookup(ptr);
	if (unlikely(!block.bytes)) {
		near__foreign(ptr, call);
		return;
	}
	if (!block.bin) {
		if (unlikely(!near__large_free(block.span, block.index)))
			near__die("%s(%p): already free", call, ptr);
		return;
	}
	table = current_table();
	if (push(table, block.bin, ptr))
		return;
	if (table)
		count_lossy(&table->counts.slow_free, 1ull);
	near__cache_free(table, block.bin, ptr, call);
}
