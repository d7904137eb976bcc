/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * A bump pointer per node over blocks of address space.
 *
 * The words: current[node] (which block) and block->used (how much of it is gone). A thread that dies in between loses what
 * it had taken, a fork's child likewise.
 * Edge: A0 the release that publishes a block pairs with A1 the acquire of current[node].
 */
#include "meta/arena.h"

#include "base/atomic.h"
#include "base/bits.h"

enum { MAPPINGS_MOST = 1 << 14, BLOCK_BYTES = 1 << 20, BLOCK_LEAST = 1 << 16, OWN_MAPPING_FROM = BLOCK_BYTES / 4 };

struct block {
	size_t used;
	size_t bytes;
};

static struct block *current[OS_MAX_NODES];
static size_t mapped;

/* What was mapped, for walks; more than these are counted only. `bytes` is stored last. */
static struct {
	void *start;
	size_t bytes;
} mappings[MAPPINGS_MOST] VAST;

static uint32_t mappings_made;

void near__arena_note(void *start, size_t bytes)
{
	uint32_t i;

	fetch_add_relaxed(&mapped, bytes);
	if (load_relaxed(&mappings_made) >= MAPPINGS_MOST)
		return;
	i = fetch_add_relaxed(&mappings_made, 1u);
	if (i >= MAPPINGS_MOST)
		return;
	store_relaxed(&mappings[i].start, start);
	store_release(&mappings[i].bytes, bytes);
}

void near__arena_visit(void (*visit)(void *start, size_t bytes, void *argument), void *argument)
{
	for (uint32_t i = 0; i < MAPPINGS_MOST && i < load_relaxed(&mappings_made); i++) {
		size_t bytes = load_acquire(&mappings[i].bytes);

		if (bytes)
			visit(load_relaxed(&mappings[i].start), bytes, argument);
	}
}

size_t near__arena_mapped(void)
{
	return load_relaxed(&mapped);
}

static void *map_near(size_t bytes, unsigned node)
{
	void *start = near__os_map_guarded(bytes);

	if (start) {
		near__os_huge(start, bytes, false); /* a few pages of it may be all that is ever used */
		near__numa_bind(start, bytes, node);
	}
	return start;
}

static void *map_own(size_t bytes, unsigned node)
{
	void *start = map_near(bytes, node);

	if (start)
		near__arena_note(start, bytes);
	return start;
}

static struct block *grow(struct block *seen, unsigned node, size_t needed)
{
	size_t bytes = BLOCK_BYTES;
	struct block *block = NULL;

	for (; !block && bytes >= BLOCK_LEAST && bytes / 2 >= needed; bytes /= 2) {
		block = map_near(bytes, node);
		if (block)
			block->bytes = bytes;
	}
	if (!block)
		return NULL;
	block->used = round_up(sizeof(*block), CACHE_LINE);
	if (cas_acq_rel(&current[node], &seen, block)) { /* A0 */
		near__arena_note(block, block->bytes);
		return block;
	}
	near__os_discard_guarded(block, block->bytes);
	return seen;
}

void *near__arena_alloc(size_t bytes, size_t align, unsigned node)
{
	bytes = round_up(bytes, CACHE_LINE);
	align = size_max(align, CACHE_LINE);
	if (bytes >= OWN_MAPPING_FROM) {
		near_invariant(align <= near__os_page_size);
		return map_own(round_up(bytes, near__os_page_size), node);
	}

	struct block *block = load_acquire(&current[node]); /* A1 */

	for (;;) {
		if (!block) {
			block = grow(NULL, node, bytes + align);
			if (!block)
				return NULL;
		}
		/* Room for the worst alignment is taken, and the first aligned piece of it used. */
		size_t take = bytes + (align > CACHE_LINE ? align - CACHE_LINE : 0);
		size_t at = load_relaxed(&block->used);

		/* What does not fit leaves the rest of the block to smaller requests. */
		while (at + take <= block->bytes) {
			if (cas_relaxed(&block->used, &at, at + take))
				return (void *)round_up((uintptr_t)block + at, align);
		}

		struct block *next = load_acquire(&current[node]); /* A1 */

		block = next != block ? next : grow(block, node, bytes + align);
		if (!block)
			return NULL;
	}
}
