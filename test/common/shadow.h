/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * A shadow heap: random calls of the whole allocation interface whose results are all checked.
 *
 * Every block is filled with a pattern of its own, which is verified before the block is freed or resized; so a block
 * that was handed out twice, overlaps another or was written by the allocator is noticed. A shadow belongs to one
 * thread (or one signal handler) at a time. Its own memory comes from mmap.
 */
#ifndef NEAR_TEST_SHADOW_H
#define NEAR_TEST_SHADOW_H

#include <sys/mman.h>

#include "check.h"
#include "names.h"
#include "random.h"

struct block {
	unsigned char *ptr;
	size_t size;	  /* filled; asked for, or the usable size */
	size_t asked;	  /* what a sized free must be told */
	size_t alignment; /* 0: from a function without one */
	uint64_t key;
};

struct shadow {
	struct block *blocks;
	unsigned count;
	bool may_fail; /* NULL with ENOMEM is an answer, not an error */
	size_t max;    /* sizes stay below */
	uint64_t random;
	unsigned long failures; /* refusals met */
	unsigned long done;	/* blocks obtained */
};

/* Whole contents of small blocks; of big ones this much at both ends, and a word in every page between. */
#define FULLY_FILLED 16384u

static inline void block_words(const struct block *b, bool fill)
{
	size_t words = b->size / 8, edge = FULLY_FILLED / 8;
	uint64_t *word = (uint64_t *)(void *)b->ptr;

	for (size_t i = 0; i<words; i += i> edge && i + edge < words ? 512 : 1) {
		uint64_t value = (b->key + i) * 0x9e3779b97f4a7c15u;

		if (fill)
			word[i] = value;
		else
			CHECK(word[i] == value);
	}
	for (size_t i = words * 8; i < b->size; i++) {
		if (fill)
			b->ptr[i] = (unsigned char)(b->key + i);
		else
			CHECK(b->ptr[i] == (unsigned char)(b->key + i));
	}
}

static inline void block_fill(struct block *b, uint64_t key)
{
	b->key = key;
	block_words(b, true);
}

static inline void block_verify(const struct block *b)
{
	block_words(b, false);
}

static inline void shadow_open(struct shadow *s, unsigned count, size_t max, uint64_t seed)
{
	*s = (struct shadow){.count = count, .max = max, .random = seed * 2654435761u + 88172645463325252u};
	s->blocks = mmap(NULL, count * sizeof(s->blocks[0]), PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(s->blocks != MAP_FAILED);
}

static inline bool all_zero(const unsigned char *p, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (p[i] != 0)
			return false;
	}
	return true;
}

/* One of the functions that allocate; tells the alignment that it promised in b->alignment. */
static inline void *shadow_obtain(struct shadow *s, struct block *b)
{
	uint64_t *r = &s->random;
	size_t align = (size_t)8 << random_below(r, random_below(r, 50) == 0 ? 19 : 7);
	void *out = NULL;

	b->alignment = 0;
	switch (random_below(r, 16)) {
	case 0:
		out = calloc(1, b->asked);
		CHECK(out == NULL || all_zero(out, b->asked));
		return out;
	case 1:
		return realloc(NULL, b->asked);
	case 2:
		return reallocarray(NULL, 1, b->asked);
	case 3:
		b->alignment = align;
		errno = posix_memalign(&out, align, b->asked);
		return errno == 0 ? out : NULL;
	case 4:
		b->alignment = align;
		return aligned_alloc(align, b->asked);
	case 5:
		b->alignment = align;
		return memalign(align, b->asked);
	case 6:
		b->alignment = (size_t)sysconf(_SC_PAGESIZE);
		return near_version && random_below(r, 2) ? pvalloc(b->asked) : valloc(b->asked);
	case 7:
		b->alignment = align > 16 ? align : 16;
		return cxx_new_aligned_nothrow ? cxx_new_aligned_nothrow(b->asked, b->alignment, NULL)
					       : memalign(b->alignment, b->asked);
	case 8:
		return cxx_new_nothrow ? cxx_new_nothrow(b->asked, NULL) : malloc(b->asked);
	default:
		return malloc(b->asked);
	}
}

static inline void shadow_check_new(struct block *b, bool whole)
{
	uintptr_t address = (uintptr_t)b->ptr;

	CHECK(address % (b->alignment > 16 ? b->alignment : 16) == 0 ||
	      (b->asked < 16 && b->alignment <= 16));
	CHECK(malloc_usable_size(b->ptr) >= b->asked);
	b->size = whole ? malloc_usable_size(b->ptr) : b->asked;
	if (b->size > b->asked + b->asked / 8 + 4096)
		b->size = b->asked;
}

static inline void shadow_take(struct shadow *s, struct block *b)
{
	int before = errno;

	b->asked = random_size(&s->random, s->max);
	b->ptr = opaque(shadow_obtain(s, b));
	if (b->ptr == NULL) {
		CHECK(s->may_fail && errno == ENOMEM);
		s->failures++;
		return;
	}
	errno = before;
	s->done++;
	shadow_check_new(b, random_below(&s->random, 4) == 0);
	block_fill(b, random_next(&s->random));
}

static inline void shadow_release(struct shadow *s, struct block *b)
{
	uint64_t way = random_below(&s->random, 8);
	void *ptr = b->ptr;

	block_verify(b);
	b->ptr = NULL;
	errno = 4711;
	if (way == 0 && b->alignment == 0 && free_sized)
		free_sized(ptr, b->asked);
	else if (way == 1 && b->alignment != 0 && free_aligned_sized)
		free_aligned_sized(ptr, b->alignment, b->asked);
	else if (way == 2 && near_version)
		cfree(ptr);
	else if (way == 3)
		free(realloc(ptr, 0));
	else
		free(ptr);
	CHECK(errno == 4711 || way == 3);
}

static inline void shadow_resize(struct shadow *s, struct block *b)
{
	size_t asked = random_size(&s->random, s->max) + 1;
	struct block kept = *b;
	void *moved;

	block_verify(b);
	moved = random_below(&s->random, 2) ? realloc(b->ptr, asked) : reallocarray(b->ptr, asked, 1);
	if (moved == NULL) {
		CHECK(s->may_fail && errno == ENOMEM);
		s->failures++;
		block_verify(b);
		return;
	}
	b->ptr = kept.ptr = opaque(moved);
	b->asked = asked;
	b->alignment = 0;
	kept.size = (kept.size < asked ? kept.size : asked) & ~(size_t)7;
	if (kept.size > FULLY_FILLED)
		kept.size = FULLY_FILLED;
	block_verify(&kept);
	shadow_check_new(b, false);
	block_fill(b, random_next(&s->random));
}

/* One random call. */
static inline void shadow_step(struct shadow *s)
{
	struct block *b = &s->blocks[random_below(&s->random, s->count)];

	if (b->ptr == NULL)
		shadow_take(s, b);
	else if (random_below(&s->random, 5) == 0)
		shadow_resize(s, b);
	else
		shadow_release(s, b);
}

static inline void shadow_steps(struct shadow *s, unsigned long steps)
{
	for (unsigned long i = 0; i < steps; i++)
		shadow_step(s);
}

static inline void shadow_verify(const struct shadow *s)
{
	for (unsigned i = 0; i < s->count; i++) {
		if (s->blocks[i].ptr != NULL)
			block_verify(&s->blocks[i]);
	}
}

static inline void shadow_empty(struct shadow *s)
{
	for (unsigned i = 0; i < s->count; i++) {
		if (s->blocks[i].ptr != NULL)
			shadow_release(s, &s->blocks[i]);
	}
}

static inline void shadow_close(struct shadow *s)
{
	shadow_empty(s);
	munmap(s->blocks, s->count * sizeof(s->blocks[0]));
}

static inline int block_order(const void *left, const void *right)
{
	const struct block *a = left, *b = right;

	return a->ptr < b->ptr ? -1 : a->ptr > b->ptr;
}

/* No two blocks may share a byte. Changes the order of the blocks. */
static inline void shadow_check_overlap(struct shadow *s)
{
	qsort(s->blocks, s->count, sizeof(s->blocks[0]), block_order);
	for (unsigned i = 1; i < s->count; i++) {
		const struct block *a = &s->blocks[i - 1], *b = &s->blocks[i];

		CHECK(a->ptr == NULL || a->ptr + (a->size ? a->size : 1) <= b->ptr);
	}
}

#endif
