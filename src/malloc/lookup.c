/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* From a pointer to what it is, and what is done about those that are nothing of ours. */
#include "base/conf.h"
#include "malloc/malloc.h"
#include "os/os.h"

uint64_t near__foreign_count;

/* Of any address, as in pagemap_slot. */
static unsigned pagemap_bin(uintptr_t address)
{
	return address >> PAGEMAP_LEAF_SHIFT < PAGEMAP_ROOT_ENTRIES ? (unsigned)pagemap_slot(address) / BIN_WORDS : 0;
}

static bool is_block(uint32_t state)
{
	return state == SPAN_RUN || state == SPAN_MAPPED;
}

struct block near__lookup(const void *ptr)
{
	uintptr_t address = (uintptr_t)ptr;
	unsigned bin = pagemap_bin(address);
	struct span *span;
	uint32_t index;

	if (likely(bin)) /* the record, and what names it, are often not in the cache */
		return (struct block){.bytes = near__class[bin_class(bin)].bytes, .bin = bin};
	index = near__pagemap_span(address);
	if (!index)
		return (struct block){0};
	span = pool_record(&near__spans, index);
	if (span->start != address || !is_block(load_acquire(&span->state)))
		return (struct block){0};
	return (struct block){.bytes = span->bytes, .index = index};
}

static bool contains(const struct span *span, uintptr_t address)
{
	return address >= span->start && address - span->start < span->bytes;
}

/* The block beyond the classes that an address lies in: only its first page is in the page map. */
static const struct span *large_around(uintptr_t address)
{
	uint32_t end = near__pool_end(&near__spans);

	for (uint32_t i = POOL_FIRST; i < end; i++) {
		const struct span *span = near__pool_peek(&near__spans, i);

		if (span && is_block(load_acquire(&span->state)) && contains(span, address))
			return span;
	}
	return NULL;
}

int near__home_of(const void *ptr)
{
	uintptr_t address = (uintptr_t)ptr;
	unsigned bin = pagemap_bin(address);
	/* Of a pointer that is not the caller's the words may not belong together: the span's is cleared first. */
	uint32_t index = bin ? near__pagemap_span(address) : 0;
	const struct span *span = bin ? near__pool_peek(&near__spans, index) : large_around(address);

	if (!span || (bin && !near__span_object(span, address)))
		return -1;
	return span->node;
}

/* The words for the message. Slow: the program is about to end. */
static const char *finding(uintptr_t address)
{
	uint32_t end = near__pool_end(&near__spans);

	for (uint32_t i = POOL_FIRST; i < end; i++) {
		const struct span *span = near__pool_peek(&near__spans, i);

		if (!span || !contains(span, address))
			continue;
		if (is_block(span->state))
			return address == span->start ? "already free" : "inside a block, not its start";
		if (span->state == SPAN_EXTENT)
			return "already free";
	}
	end = near__pool_end(&near__regions);
	for (uint32_t i = POOL_FIRST; i < end; i++) {
		const struct region *region = near__pool_peek(&near__regions, i);

		if (region && load_acquire(&region->in_use) && address >= region->base &&
		    address - region->base < load_relaxed(&region->carved))
			return "already free";
	}
	return "not a pointer from this allocator";
}

/*
 * What libc's own malloc handed out before we were loaded, or hands out in another namespace, lies in the program
 * break, where we never are. Leaving it alone costs its memory, and touching it would cost the program.
 */
void near__foreign(const void *ptr, const char *call)
{
	if (near__conf.foreign != CONF_FOREIGN_IGNORE && !near__os_in_break((uintptr_t)ptr))
		near__die("%s(%p): %s", call, ptr, finding((uintptr_t)ptr));
	fetch_add_relaxed(&near__foreign_count, 1ull);
}

size_t near__usable_size(const void *ptr, const char *call)
{
	struct block block;

	if (!ptr)
		return 0;
	block = near__lookup(ptr);
	if (!block.bytes)
		near__foreign(ptr, call);
	return block.bytes;
}
