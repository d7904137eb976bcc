/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * The invariants of everything, looked at while nobody is inside the allocator.
 *
 * Records and magazines are type-stable and are reached by checked indices, so that what is wrong is told and not
 * followed. Nothing is allocated but one mapping for notes, which are kept by record: what was met where.
 */
#ifndef NEAR_WATCH_CHECK_H
#define NEAR_WATCH_CHECK_H

#include "cache/cache.h"

/* The number of violations, of which the first few are told on stderr; or -1 with *error set: EBUSY, ENOMEM. */
int near__check(int *error);

/* ---- for the files of the check --------------------------------------------------------------------- */

/* What was met of a record that is not a magazine. */
enum met {
	MET_FREE = 1,	/* among the free records of its pool */
	MET_LISTED = 2, /* in the list of its node */
	MET_LATER = 4,	/* among those whose pages are given back later */
};

enum place_kind { PLACE_NONE, PLACE_LOADED, PLACE_SPARE, PLACE_FULL, PLACE_EMPTY, PLACE_COLD, PLACE_FREE };

/* Of a magazine: a CPU and a bin, or a node and a class. */
struct place {
	uint16_t kind; /* enum place_kind */
	uint16_t a, b;
};

/* What the records of a node add up to. */
struct sums {
	size_t span_bytes, object_bytes;
	size_t committed, free_bytes, dirty_free, chunk_bytes, uncarved;
	size_t extent_bytes;
	uint32_t extents;
};

/* Address space of one owner. */
struct range {
	uintptr_t start, end;
	const char *what;
};

struct check {
	unsigned violations;
	/* Each thing has a place. Not in the child of a fork, to which hands were lost, or when things were given up. */
	bool whole;
	size_t mapped;			   /* bytes of blocks with a mapping of their own */
	uint64_t (*cached)[SPAN_WORDS];	   /* by span: its objects that lie in magazines */
	uint64_t (*owned)[CHUNK_WORDS];	   /* by chunk: its pages that spans have */
	uint8_t *spans, *chunks, *regions; /* by record: enum met */
	struct place *magazines;
	struct sums *sums; /* by node */
	struct range *range;
	size_t ranges, ranges_most;
};

void near__check_found(struct check *check, const char *format, ...) PRINTF_LIKE(2, 3);
#define WRONG_IF(condition, ...)                               \
	do {                                                   \
		if (condition)                                 \
			near__check_found(check, __VA_ARGS__); \
	} while (0)

/* The record, if an index is one of the pool's; else NULL. */
void *near__check_record(const struct pool *pool, uint32_t index);
/* Visits the records of a stack from the top until `visit` says no. Returns how many. */
uint32_t near__check_stack(struct check *check, const char *name, const struct pool *pool, const struct stack *stack,
			   bool (*visit)(struct check *check, uint32_t index, struct place where), struct place where);

/* In this order, for later ones need the notes of earlier ones. */
void near__check_caches(struct check *check);
void near__check_spans(struct check *check);
void near__check_chunks(struct check *check);
void near__check_pagemap(struct check *check);

#endif
