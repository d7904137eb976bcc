/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Calls of the allocator that check what they get, mixes of sizes, and objects that know what they should contain.
 *
 * An object begins with its size and a tag; behind them stands what follows from the tag, as far as it is filled.
 * It is checked before it is freed, and spoilt, so that a second free of it, or of another at the same place, is
 * noticed by the workload.
 */
#ifndef NEAR_BENCH_OBJECTS_H
#define NEAR_BENCH_OBJECTS_H

#include "workload.h"

static void *(*volatile bench_calloc)(size_t, size_t) = calloc;
static void *(*volatile bench_realloc)(void *, size_t) = realloc;
static int (*volatile bench_posix_memalign)(void **, size_t, size_t) = posix_memalign;

/* ---- calls ---------------------------------------------------------------------------------------- */

static inline void *checked(void *memory, size_t size, size_t alignment)
{
	if (__builtin_expect(!memory || (uintptr_t)memory % (size < alignment ? 8 : alignment), 0))
		die("%zu bytes, aligned to %zu: got %p", size, alignment, memory);
	return memory;
}

static inline void *get(size_t size)
{
	return checked(bench_malloc(size), size, 16);
}

static inline void *get_zeroed(size_t size)
{
	return checked(bench_calloc(1, size), size, 16);
}

static inline void *get_aligned(size_t alignment, size_t size)
{
	void *memory = NULL;

	if (bench_posix_memalign(&memory, alignment, size) || (uintptr_t)memory % alignment)
		die("%zu bytes, aligned to %zu: got %p", size, alignment, memory);
	return memory;
}

static inline void *get_resized(void *memory, size_t size)
{
	return checked(bench_realloc(memory, size), size, 16);
}

static inline void put(void *memory)
{
	bench_free(memory);
}

/* ---- contents ------------------------------------------------------------------------------------- */

/* Writes all of it; each word differs from its neighbours. */
static inline void fill(void *memory, size_t size, uint64_t tag)
{
	char *at = memory, *end = at + size;

	for (; end - at >= 8; at += 8, tag++)
		memcpy(at, &tag, 8);
	memcpy(at, &tag, (size_t)(end - at));
}

static inline bool filled_with(const void *memory, size_t size, uint64_t tag)
{
	const char *at = memory, *end = at + size;
	uint64_t word, difference = 0;

	for (; end - at >= 8; at += 8, tag++) {
		memcpy(&word, at, 8);
		difference |= word ^ tag;
	}
	return !difference && !memcmp(at, &tag, (size_t)(end - at));
}

static inline bool all_zero(const void *memory, size_t size)
{
	const char *bytes = memory;

	return !size || (!bytes[0] && !memcmp(bytes, bytes + 1, size - 1));
}

/* One word in each line, as a program does that fills in a structure. */
static inline void touch(void *memory, size_t size)
{
	for (size_t i = 0; i + 8 <= size; i += 64)
		*(volatile uint64_t *)((char *)memory + i) = i;
}

/* ---- sizes and order ------------------------------------------------------------------------------ */

/* From least to most, both included. */
static inline size_t random_between(uint64_t *state, size_t least, size_t most)
{
	return least + random_below(state, (uint32_t)(most - least + 1));
}

/* From least to below most, powers of two, every doubling as likely as another. */
static inline size_t random_doubling(uint64_t *state, size_t least, size_t most)
{
	unsigned doublings = (unsigned)(__builtin_ctzl(most) - __builtin_ctzl(least));
	size_t low = least << random_below(state, doublings);

	return low + random_below(state, (uint32_t)low);
}

/* A mix of sizes: shares that make 100 percent. */
struct share {
	unsigned percent;
	size_t least, most;
};

static inline size_t random_size(uint64_t *state, const struct share *mix)
{
	unsigned point = random_below(state, 100);

	for (; point >= mix->percent; mix++)
		point -= mix->percent;
	return random_between(state, mix->least, mix->most);
}

/* What servers mostly ask for. */
static const struct share small_mix[] = {{50, 16, 63}, {30, 64, 255}, {15, 256, 1023}, {5, 1024, 4096}};

static inline void shuffle(void **items, uint32_t n, uint64_t *random)
{
	for (uint32_t i = n; i > 1; i--) {
		uint32_t other = random_below(random, i);
		void *item = items[i - 1];

		items[i - 1] = items[other];
		items[other] = item;
	}
}

/* ---- objects -------------------------------------------------------------------------------------- */

struct object {
	uint32_t size; /* 0: freed */
	uint32_t tag;
	char contents[];
};

#define WHOLE SIZE_MAX

static inline size_t contents_size(size_t size, size_t filled)
{
	return (size < filled ? size : filled) - sizeof(struct object);
}

/* Makes an object of memory; at least 8 bytes, `filled` of them written. */
static inline struct object *object_in(void *memory, size_t size, size_t filled, uint64_t *random)
{
	struct object *object = memory;

	object->size = (uint32_t)size;
	object->tag = (uint32_t)random_next(random);
	fill(object->contents, contents_size(size, filled), object->tag);
	return object;
}

static inline struct object *object_new(size_t size, size_t filled, uint64_t *random)
{
	return object_in(get(size), size, filled, random);
}

static inline void object_check(const struct object *object, size_t filled)
{
	if (!object->size || !filled_with(object->contents, contents_size(object->size, filled), object->tag))
		die("the object at %p was overwritten or freed", (const void *)object);
}

/* Returns the size that it had. */
static inline size_t object_spoil(struct object *object, size_t filled)
{
	size_t size = object->size;

	object_check(object, filled);
	object->size = 0;
	return size;
}

/* Returns the size that it had; 0 of none. */
static inline size_t object_free(struct object *object, size_t filled)
{
	size_t size = object ? object_spoil(object, filled) : 0;

	put(object);
	return size;
}

/* Returns how many bytes were freed; the slots are empty then. */
static inline size_t objects_free(struct object **slots, size_t n, size_t filled)
{
	size_t bytes = 0;

	for (size_t i = 0; i < n; i++) {
		bytes += object_free(slots[i], filled);
		slots[i] = NULL;
	}
	return bytes;
}

/* Frees the slot's object and puts another there. Returns by how many bytes more are alive. */
static inline int64_t object_replace(struct object **slot, size_t size, size_t filled, uint64_t *random)
{
	int64_t freed = (int64_t)object_free(*slot, filled);

	*slot = object_new(size, filled, random);
	return (int64_t)size - freed;
}

#endif
