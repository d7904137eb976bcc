/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* Alignments above 16 bytes. */
#include "malloc/fast.h"

/*
 * The smallest class that fits and aligns; 0 when a large block wastes less. Objects of a class lie at multiples of its size
 * from a page, or, for powers of two, from their own alignment. Classes are all multiples of a step that is a power of
 * two, up to the next doubling: so the first one from a multiple of `align` on is a multiple itself.
 */
static size_t class_size(size_t align, size_t size)
{
	if (align > MAP_PAGE && (size < align || !is_power_of_two(size)))
		return 0;
	return near__class[class_of(round_up(size_max(size, 1), align))].bytes;
}

void *near__aligned(size_t align, size_t size, int node)
{
	bool zeroed;

	if (align <= 16)
		return malloc_on(size, node);
	if (size > PTRDIFF_MAX || align > PTRDIFF_MAX || !near__init())
		return near__enomem();
	if (size <= CLASS_LARGEST && align <= CLASS_LARGEST) {
		size_t bytes = class_size(align, size);

		if (bytes)
			return malloc_on(bytes, node);
	}
	return near__alloc((struct request){.size = size, .align = align, .node = node}, &zeroed);
}

size_t near__good_size(size_t size)
{
	if (!near__init() || size > PTRDIFF_MAX)
		return 0;
	return size <= CLASS_LARGEST ? near__class[class_of(size)].bytes : near__large_bytes(size);
}
