/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* Two heaps on nodes that the kernel would number 3 and 5, whose binding is recorded; and large blocks on them. */
#ifndef NEAR_TEST_BOUND_H
#define NEAR_TEST_BOUND_H

#include "heap_check.h"
#include "machine.h"

#if NEAR_WITH_NUMA

enum { FIRST = 3, SECOND = 5 };

static inline void start(bool strict)
{
	machine_begin(6, OS_MAX_CPUS);
	machine_memory(FIRST);
	machine_memory(SECOND);
	machine_cpus(0, OS_MAX_CPUS - 1, FIRST);
	machine_cpus(OS_MAX_CPUS - 1, 1, SECOND);
	near__numa_mbind = record_binding;
	near__topology.strict = strict;
	machine_start();
	near__topology.strict = strict;
}

static inline void expect_right(void)
{
	for (unsigned node = 0; node < near__nodes; node++) {
		const char *wrong = heap_wrong(node, true);

		cr_assert_null(wrong, "node %u: %s", node, wrong);
	}
}

static inline struct region *region_of(unsigned node)
{
	return region_or_null(near__heap[node]->chunks.regions);
}

static inline struct span *span_at(const void *block)
{
	struct span *span = span_or_null(near__pagemap_span((uintptr_t)block));

	cr_assert_not_null(span);
	return span;
}

static inline char *large(size_t size, unsigned node)
{
	bool zeroed = false;

	return near__large_alloc(size, 16, node, &zeroed);
}

static inline bool release(const void *block)
{
	uint32_t index = near__pagemap_span((uintptr_t)block);

	return index && near__large_free(pool_record(&near__spans, index), index);
}

static inline char *resize(const char *block, size_t size)
{
	return near__large_resize(span_at(block), near__pagemap_span((uintptr_t)block), size);
}

#endif

#endif
