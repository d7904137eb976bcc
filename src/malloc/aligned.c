/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* Alignments above 16 bytes. */
#include "malloc/fast.h"

/*
 * Objects of a class lie at multiples of its size from a page, or, for powers of two, from their own alignment. Classes are
 * all multiples of a step that is a power of two, up to the next doubling: so the first one from a multiple of `align` on is
 * a multiple itself. Beyond a page a large block wastes less.
 */
static bool class_will_do(size_t align, size_t size)
{
	return size <= CLASS_LARGEST && (likely(align <= MAP_PAGE) || (align <= size && is_power_of_two(size)));
}

void *near__aligned(size_t align, size_t size, int node)
{
	bool zeroed;

	if (align <= 16)
		return malloc_on(size, node);
	if (likely(class_will_do(align, size)))
		return malloc_on(round_up(size_max(size, 1), align), node);
	if (size > PTRDIFF_MAX || align > PTRDIFF_MAX || !near__init())
		return near__enomem();
	return near__alloc((struct request){.size = size, .align = align, .node = node}, &zeroed);
}

size_t near__good_size(size_t size)
{
	if (!near__init() || size > PTRDIFF_MAX)
		return 0;
	return size <= CLASS_LARGEST ? near__class[class_of(size)].bytes : near__large_bytes(size);
}
