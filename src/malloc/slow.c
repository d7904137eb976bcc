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

#include "heap/limit.h"
#include "keep/keep.h"
#include "keep/limits.h"
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
	unsigned node = OS_NODE_UNKNOWN;
	int cpu;

	if (table)
		return table->node;
	if (near__nodes < 2)
		return 0;
	cpu = near__os_cpu();
	if (cpu >= 0 && cpu < OS_MAX_CPUS)
		node = near__numa_node_of_cpu((unsigned)cpu);
	return node == OS_NODE_UNKNOWN ? 0 : node;
}

static struct cpu_table *current_table(void)
{
	return likely(load_acquire(&near__mode) != NEAR_MODE_EARLY) ? near__cache_table() : NULL;
}

/* From the bin itself: the sizes beyond the fast path's table, other nodes, and everything in the locked mode. */
static void *pop(struct cpu_table *table, unsigned class, int wanted)
{
	if (!table)
		return NULL;
	if (near__mode == NEAR_MODE_RSEQ)
		return wanted == NODE_OF_CALLER
			       ? section_pop(LOCAL_BASE, (uint64_t) class * BIN_WORDS)
			       : section_pop(CPU_BASE, (uint64_t)bin_of((unsigned)wanted, class) * BIN_WORDS);

	unsigned node = wanted == NODE_OF_CALLER ? table->node : (unsigned)wanted;

	return near__locked_pop(&table->lock, &table->bins[bin_of(node, class)]);
}

static bool push(struct cpu_table *table, unsigned bin, void *object)
{
	if (!table || near__mode == NEAR_MODE_EARLY)
		return false;
	if (near__mode == NEAR_MODE_RSEQ)
		return !section_push(CPU_BASE, (uint64_t)bin * BIN_WORDS, object);
	return !near__locked_push(&table->lock, &table->bins[bin], object);
}

/* Other nodes in the order of distance, an object at a time. */
static void *from_other_nodes(unsigned node, unsigned class)
{
	const struct heap *heap = near__heap[node];
	void *object;

	for (unsigned i = 1; i < load_acquire(&heap->sources); i++) {
		if (near__span_take(heap->source[i].node, class, &object, 1)) {
			near__heap_note_fallback(node, i, near__class[class].bytes);
			return object;
		}
	}
	return NULL;
}

static void *alloc_small(size_t size, int wanted)
{
	struct cpu_table *table = current_table();
	unsigned class = class_of(size), node = wanted == NODE_OF_CALLER ? current_node(table) : (unsigned)wanted;
	void *object = pop(table, class, wanted);
	bool zeroed = false;

	if (likely(object != NULL))
		return object;
	if (table) {
		count_lossy(&table->counts.slow_malloc, 1ull);
		count_lossy(&table->asked[class].calls, 1ull);
		count_lossy(&table->asked[class].bytes, (uint64_t)size);
		keep_tick(table);
	}
	object = load_acquire(&near__mode) == NEAR_MODE_EARLY ? NULL : near__cache_alloc(table, node, class);
	if (likely(object != NULL))
		return object;
	if (near__span_take(node, class, &object, 1))
		return object;
	object = from_other_nodes(node, class);
	if (object)
		return object;
	return near__large_alloc(near__class[class].bytes, (size_t)near__class[class].align * MAP_PAGE, node, &zeroed);
}

static void *alloc_large(const struct request *r, bool *zeroed)
{
	struct cpu_table *table = current_table();
	unsigned node = r->node == NODE_OF_CALLER ? current_node(table) : (unsigned)r->node;
	const struct heap *heap = near__heap[node];

	if (table)
		keep_tick(table);

	for (unsigned i = 0; i < load_acquire(&heap->sources); i++) {
		void *block;

		*zeroed = r->zeros;
		block = near__large_alloc(r->size, r->align, heap->source[i].node, zeroed);

		if (block && i)
			near__heap_note_fallback(node, i, r->size);
		if (block)
			return block;
	}
	return NULL;
}

static void *alloc(const struct request *r, bool *zeroed)
{
	*zeroed = false;
	if (likely(!r->align))
		return alloc_small(r->size, r->node);
	return alloc_large(r, zeroed);
}

void *near__alloc(struct request r, bool *zeroed)
{
	void *block;

	if (unlikely(r.size > PTRDIFF_MAX) || unlikely(!near__init()))
		return near__enomem();
	if (r.size > CLASS_LARGEST && !r.align)
		r.align = MAP_PAGE;
	block = alloc(&r, zeroed);
	if (likely(block != NULL))
		return block;
	/* Address space, memory or a limit has ended: perhaps what the caches hold will do. */
	near__limits_tell(r.size);
	if (!near__trim_for(r.size))
		return near__enomem();
	block = alloc(&r, zeroed);
	if (!block && near__limit_waive()) {
		block = alloc(&r, zeroed);
		near__limit_heed();
	}
	return block ? block : near__enomem();
}

void *near__malloc_slow(size_t size)
{
	bool zeroed;

	return near__alloc((struct request){.size = size, .node = NODE_OF_CALLER}, &zeroed);
}

static void *calloc_for(size_t bytes, int node)
{
	bool zeroed;
	void *block = near__alloc((struct request){.size = bytes, .node = node, .zeros = true}, &zeroed);

	return block && !zeroed ? memset(block, 0, bytes) : block;
}

void *near__calloc(size_t count, size_t size, int node)
{
	size_t bytes;
	void *block;

	if (unlikely(__builtin_mul_overflow(count, size, &bytes)))
		return near__enomem();
	if (bytes >= near__small_limit || node != NODE_OF_CALLER)
		return calloc_for(bytes, node);
	block = fast_malloc(bytes);
	return block ? memset(block, 0, bytes) : NULL;
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
	table = current_table();
	if (!block.bin) {
		if (table) {
			near__cache_note_freed(table, block_span(block)->node, 1, block.bytes);
			keep_tick(table);
		}
		if (unlikely(!near__large_free(block_span(block), block.index)))
			near__die("%s(%p): already free", call, ptr);
		keep_after_free();
		return;
	}
	if (push(table, block.bin, ptr))
		return;
	if (table) {
		count_lossy(&table->counts.slow_free, 1ull);
		keep_tick(table);
	}
	near__cache_free(table, block.bin, ptr, call);
	keep_after_free();
}
