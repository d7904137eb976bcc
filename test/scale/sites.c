/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
#include "sites.h"

#include <stdio.h>

#include "malloc/malloc.h"
#include "sim.h"

enum kind {
	FULL,
	EMPTY,
	BYTES,
	SPAN_LISTS,
	CHUNK_HEAPS,
	POOLS,
	MAGAZINES,
	BESIDE_MAGAZINES,
	SPAN_RECORDS,
	CHUNK_RECORDS,
	PAGE_MAP,
	OTHER,
	KINDS,
};

static struct site {
	const char *name;
	uint64_t transfers, busiest;
} sites[KINDS] = {
	[FULL] = {.name = "depots: full magazines"}, [EMPTY] = {.name = "depots: empty magazines"},
	[BYTES] = {.name = "depots: bytes"},	     [SPAN_LISTS] = {.name = "lists of spans"},
	[CHUNK_HEAPS] = {.name = "chunk heaps"},     [POOLS] = {.name = "pools"},
	[MAGAZINES] = {.name = "magazines"},	     [BESIDE_MAGAZINES] = {.name = "beside magazines"},
	[SPAN_RECORDS] = {.name = "span records"},   [CHUNK_RECORDS] = {.name = "chunk records"},
	[PAGE_MAP] = {.name = "page map"},	     [OTHER] = {.name = "other"},
};

static bool within(uintptr_t line, const void *start, size_t bytes)
{
	return line + SIM_LINE > (uintptr_t)start && line < (uintptr_t)start + bytes;
}

/* 0: not of this pool, 1: beside its records, 2: a record. */
static int in_pool(const struct pool *pool, uintptr_t line)
{
	struct segment *s = pool_segment_at(line);

	for (uint32_t i = 1; i <= pool->segments; i++) {
		if (pool->at[i] == s)
			return line - (uintptr_t)s < s->first ? 1 : 2;
	}
	return 0;
}

static bool in_page_map(uintptr_t line)
{
	for (size_t i = 0; i < PAGEMAP_ROOT_ENTRIES; i++) {
		if (near__pagemap_root[i] &&
		    within(line, (char *)near__pagemap_zero + near__pagemap_root[i], sizeof(struct leaf)))
			return true;
	}
	return false;
}

static enum kind kind_of(uintptr_t line)
{
	int in;

	for (unsigned node = 0; node < near__nodes; node++) {
		const struct depot *depot = near__depot[node];
		const struct heap *heap = near__heap[node];

		if (within(line, depot->full, sizeof(depot->full)))
			return FULL;
		if (within(line, &depot->empty, sizeof(depot->empty)))
			return EMPTY;
		if (within(line, &depot->bytes, sizeof(depot->bytes)))
			return BYTES;
		if (within(line, heap->spans, sizeof(heap->spans)))
			return SPAN_LISTS;
		if (within(line, &heap->chunks, sizeof(heap->chunks)))
			return CHUNK_HEAPS;
	}
	in = in_pool(&near__magazines, line);
	if (in)
		return in == 1 ? BESIDE_MAGAZINES : MAGAZINES;
	if (in_pool(&near__spans, line))
		return SPAN_RECORDS;
	if (in_pool(&near__chunks, line))
		return CHUNK_RECORDS;
	if (within(line, &near__magazines, sizeof(struct pool)) || within(line, &near__spans, sizeof(struct pool)) ||
	    within(line, &near__chunks, sizeof(struct pool)))
		return POOLS;
	return in_page_map(line) ? PAGE_MAP : OTHER;
}

static void visit(uintptr_t line, uint64_t transfers)
{
	struct site *site = &sites[kind_of(line)];

	site->transfers += transfers;
	site->busiest = transfers > site->busiest ? transfers : site->busiest;
}

void sites_collect(void)
{
	sim_each_line(visit);
}

uint64_t sites_page_map(void)
{
	return sites[PAGE_MAP].transfers;
}

void sites_print(double n)
{
	for (const struct site *site = sites; site < sites + KINDS; site++) {
		if (site->transfers)
			printf("  %-26s %9.4f  busiest line %9.4f\n", site->name, (double)site->transfers / n,
			       (double)site->busiest / n);
	}
}
