/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* Large blocks of node 0, written to and looked up. */
#ifndef NEAR_TEST_BLOCKS_H
#define NEAR_TEST_BLOCKS_H

#include "base/conf.h"
#include "heap_check.h"
#include "os/os.h"
#include "unit.h"

static inline struct span *span_of(const void *block)
{
	struct span *span = span_or_null(near__pagemap_span((uintptr_t)block));

	cr_assert_not_null(span);
	cr_assert_eq(span->start, (uintptr_t)block);
	return span;
}

static inline char *alloc(size_t size, size_t align)
{
	bool zeroed = false;
	char *block = near__large_alloc(size, align, 0, &zeroed);

	cr_assert_not_null(block);
	cr_assert_eq((uintptr_t)block % size_max(align, MAP_PAGE), 0);
	cr_assert_geq(span_of(block)->bytes, size);
	cr_assert_eq(pagemap_slot((uintptr_t)block), 0);
	for (size_t i = 0; zeroed && i < size; i += 512)
		cr_assert_eq(block[i], 0);
	memset(block, 0x77, size_min(size, 3 * MIB));
	block[size - 1] = 0x77;
	return block;
}

static inline bool release(const void *block)
{
	uint32_t index = near__pagemap_span((uintptr_t)block);

	return index && near__large_free(pool_record(&near__spans, index), index);
}

static inline char *resize(const char *block, size_t size)
{
	return near__large_resize(span_of(block), near__pagemap_span((uintptr_t)block), size);
}

static inline void expect_right(void)
{
	const char *wrong = heap_wrong(0, true);

	cr_assert_null(wrong, "%s", wrong);
}

static inline struct extent_list *extents(void)
{
	return &near__heap[0]->extents;
}

#endif
