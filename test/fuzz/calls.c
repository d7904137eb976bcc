/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* The calls that a step can stand for, and what each may answer (doc/semantics.md). */
#include "step.h"

#include <limits.h>

#include "base/conf.h"
#include "meta/classes.h"
#include "os/os.h"

enum {
	PLAUSIBLE = 1 << 30,
	FILLED_OF_HUGE = 4096,
};

/* ---- numbers --------------------------------------------------------------------------------------- */

static size_t hostile(unsigned which)
{
	static const size_t sizes[] = {
		0,
		PTRDIFF_MAX,
		(size_t)PTRDIFF_MAX + 1,
		SIZE_MAX - 16,
		SIZE_MAX,
		SIZE_MAX - 4095,
		SIZE_MAX / 2 - 4095,
		(size_t)1 << 40,
		(size_t)1 << 47,
		(size_t)1 << 32,
		(size_t)1 << 62,
		1 << 20,
		(1 << 20) + 1,
		2 << 20,
		(2 << 20) - 4096,
		256 << 10,
	};

	return sizes[which % (sizeof(sizes) / sizeof(sizes[0]))];
}

size_t size_of(const struct step *step)
{
	size_t n = word(step);

	switch (step->kind % 16) {
	case 0:
		return hostile(step->low) - step->high % 3;
	case 1: /* at the edge of a class */
		return near__class[1 + step->low % CLASSES].bytes + step->high % 3 - 1;
	case 2:
		return n * 48;
	case 3:
	case 4:
		return n * 12;
	case 5:
	case 6:
		return n * 4;
	case 7:
	case 8:
		return n;
	case 9:
	case 10:
		return n % 9000;
	default:
		return n % 1025;
	}
}

/* Mostly powers of two, up to 2^63. */
static size_t alignment_of(const struct step *step)
{
	static const size_t odd[] = {0, 3, 12, 24, 48, 100, 4097, SIZE_MAX, SIZE_MAX / 2, ((size_t)1 << 63) + 1};
	unsigned kind = step->where / BLOCKS;

	if (kind >= 14)
		return odd[step->high % (sizeof(odd) / sizeof(odd[0]))];
	return (size_t)1 << (kind == 13 ? step->high % 64 : kind >= 4 ? step->high % 22 : step->high % 13);
}

int node_of(const struct step *step)
{
	static const int odd[] = {-1, INT_MIN, INT_MAX, 1023, 1024, 65536};
	unsigned n = step->where / BLOCKS;

	return n >= 14 ? odd[step->high % (sizeof(odd) / sizeof(odd[0]))] : (int)n % 5;
}

bool node_exists(int node)
{
	return near__topology.bound ? near__numa_dense(node) >= 0 : near__numa_has_memory(node);
}

/* ---- what comes of a call that allocates ----------------------------------------------------------- */

bool may_fail(size_t size, size_t align)
{
	return near__conf.limit_hard != 0 || size >= PLAUSIBLE || align >= PLAUSIBLE || near__conf.numa_strict;
}

/* Where memory is short a small block may be a mapping of its own. */
static void check_good_size(void *ptr, size_t size, size_t align)
{
	size_t usable = near_usable_size(ptr), good = near_good_size(size);

	if (align == 0 && size <= 1 << 20)
		CHECK(usable == good || (usable > good && may_fail(size, align)));
}

/* The block is filled and remembered; or the refusal was allowed. */
static void obtained(struct block *b, void *ptr, size_t size, size_t align, uint64_t key)
{
	if (opaque(ptr) == NULL) {
		CHECK(errno_is(ENOMEM));
		CHECK(may_fail(size, align));
		return;
	}
	CHECK(errno_is(UNTOUCHED));
	CHECK(size <= PTRDIFF_MAX);
	*b = (struct block){.ptr = ptr, .asked = size, .alignment = align};
	CHECK((uintptr_t)ptr % 16 == 0);
	CHECK(near_owns(ptr));
	CHECK(near_usable_size(ptr) == malloc_usable_size(ptr));
	check_good_size(ptr, size, align);
	shadow_check_new(b, key % 2 == 0);
	if (b->size > 16 << 20)
		b->size = FILLED_OF_HUGE;
	block_fill(b, key);
}

static void refused(const void *ptr, int error)
{
	CHECK(ptr == NULL);
	CHECK(errno_is(error));
}

static bool overflows(size_t count, size_t size)
{
	size_t product;

	return __builtin_mul_overflow(count, size, &product);
}

/* glibc declares what the result is aligned to, which an alignment that is refused makes nonsense. */
#define ANY_ALIGNMENT __attribute__((no_sanitize("alignment")))

static bool power_of_two(size_t n)
{
	return n != 0 && (n & (n - 1)) == 0;
}

void released(struct block *b, void (*way)(void *))
{
	void *ptr = b->ptr;

	block_verify(b);
	*b = (struct block){0};
	way(ptr);
	CHECK(errno_is(UNTOUCHED));
}

/* ---- a new block ------------------------------------------------------------------------------------ */

static size_t count_of(const struct step *step)
{
	return step->where / BLOCKS >= 13 ? hostile(step->where / 2) : 1 + (size_t)step->where / BLOCKS % 4;
}

static void zeroed(struct block *b, void *ptr, size_t size, uint64_t key)
{
	size_t looked_at = size < 4 << 20 ? size : 0;

	CHECK(ptr == NULL || all_zero(ptr, looked_at));
	obtained(b, ptr, size, 0, key);
}

static void take_calloc(struct block *b, const struct step *step, uint64_t key)
{
	size_t count = count_of(step), size = size_of(step);
	void *ptr = calloc(count, size);

	if (overflows(count, size))
		refused(ptr, ENOMEM);
	else
		zeroed(b, ptr, count * size, key);
}

static void take_array(struct block *b, const struct step *step, uint64_t key)
{
	size_t count = count_of(step), size = size_of(step);
	void *ptr = reallocarray(NULL, count, size);

	if (overflows(count, size))
		refused(ptr, ENOMEM);
	else
		obtained(b, ptr, count * size, 0, key);
}

static void take_posix(struct block *b, const struct step *step, uint64_t key)
{
	size_t align = alignment_of(step), size = size_of(step);
	void *out = b;
	int error = posix_memalign(&out, align, size);

	CHECK(errno_is(UNTOUCHED));
	CHECK((error == EINVAL) == (!power_of_two(align) || align % sizeof(void *) != 0));
	CHECK(error == 0 || out == b);
	if (error == EINVAL)
		return;
	errno = error ? error : UNTOUCHED;
	obtained(b, error ? NULL : out, size, align, key);
}

ANY_ALIGNMENT static void take_aligned(struct block *b, const struct step *step, uint64_t key)
{
	size_t align = alignment_of(step), size = size_of(step);
	void *ptr = aligned_alloc(align, size);

	if (power_of_two(align))
		obtained(b, ptr, size, align, key);
	else
		refused(ptr, EINVAL);
}

ANY_ALIGNMENT static void take_memalign(struct block *b, const struct step *step, uint64_t key)
{
	size_t align = alignment_of(step), size = size_of(step), up = 16;
	void *ptr = memalign(align, size);

	if (align > (size_t)1 << 63) {
		refused(ptr, EINVAL);
		return;
	}
	while (up < align)
		up *= 2;
	obtained(b, ptr, size, up, key);
}

static void take_pages(struct block *b, const struct step *step, uint64_t key)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), size = size_of(step);
	void *ptr = step->where / BLOCKS % 2 ? pvalloc(size) : valloc(size);

	obtained(b, ptr, size, page, key);
	CHECK(ptr == NULL || step->where / BLOCKS % 2 == 0 || malloc_usable_size(ptr) % page == 0);
}

static void take_at_least(struct block *b, const struct step *step, uint64_t key)
{
	size_t size = size_of(step);
	struct near_sized got = near_malloc_at_least(size);

	CHECK(got.size == near_usable_size(got.ptr));
	obtained(b, got.ptr, size, 0, key);
}

static void take_operator(struct block *b, const struct step *step, uint64_t key)
{
	size_t align = alignment_of(step), size = size_of(step);

	if (step->where / BLOCKS % 2)
		obtained(b, cxx_new_nothrow(size, NULL), size, 0, key);
	else if (power_of_two(align))
		obtained(b, cxx_new_aligned_nothrow(size, align, NULL), size, align > 16 ? align : 16, key);
}

static void take_on_node(struct block *b, const struct step *step, uint64_t key)
{
	int node = node_of(step);
	size_t size = size_of(step), align = (size_t)1 << step->high % 14;
	unsigned way = step->kind / 16 % 3;
	void *ptr = way == 0   ? near_malloc_on_node(size, node)
		    : way == 1 ? near_calloc_on_node(1, size, node)
			       : near_aligned_alloc_on_node(align, size, node);
	int error = errno;

	if (!node_exists(node)) {
		refused(ptr, EINVAL);
		return;
	}
	CHECK(ptr == NULL || near_node_of(ptr) >= 0 || errno_is(ENODATA));
	errno = error;
	if (way == 1)
		zeroed(b, ptr, size, key);
	else
		obtained(b, ptr, size, way == 2 ? align : 0, key);
}

void take(struct block *b, const struct step *step, uint64_t key)
{
	size_t size = size_of(step);

	switch (step->what % 16) {
	case 0:
		take_calloc(b, step, key);
		break;
	case 1:
		take_array(b, step, key);
		break;
	case 2:
		take_posix(b, step, key);
		break;
	case 3:
		take_aligned(b, step, key);
		break;
	case 4:
		take_memalign(b, step, key);
		break;
	case 5:
		take_pages(b, step, key);
		break;
	case 6:
		take_at_least(b, step, key);
		break;
	case 7:
		take_operator(b, step, key);
		break;
	case 8:
	case 9:
		take_on_node(b, step, key);
		break;
	case 10:
		obtained(b, realloc(NULL, size), size, 0, key);
		break;
	default:
		obtained(b, malloc(size), size, 0, key);
	}
}

/* ---- a block that is there -------------------------------------------------------------------------- */

static void by_size(struct block *b)
{
	void *ptr = b->ptr;
	size_t asked = b->asked, alignment = b->alignment;

	block_verify(b);
	*b = (struct block){0};
	if (alignment != 0)
		free_aligned_sized(ptr, alignment, asked);
	else
		free_sized(ptr, asked);
	CHECK(errno_is(UNTOUCHED));
}

static void by_realloc(void *ptr)
{
	CHECK(realloc(ptr, 0) == NULL);
}

static void *resized(struct block *b, const struct step *step, size_t size)
{
	switch (step->what % 4) {
	case 0:
		return reallocarray(b->ptr, 1, size);
	case 1:
		return near_realloc_on_node(b->ptr, size, node_of(step));
	default:
		return realloc(b->ptr, size);
	}
}

/* What was there is there still, at the old place or the new one. */
static void resize(struct block *b, const struct step *step, uint64_t key)
{
	size_t size = size_of(step);
	struct block kept = *b;
	void *ptr;

	if (size == 0)
		size = 1;
	block_verify(b);
	ptr = resized(b, step, size);
	if (ptr == NULL) {
		if (step->what % 4 == 1 && !node_exists(node_of(step)))
			CHECK(errno_is(EINVAL));
		else
			CHECK(errno_is(ENOMEM) && may_fail(size, 0));
		block_verify(b);
		return;
	}
	kept.ptr = opaque(ptr);
	kept.size = (kept.size < size ? kept.size : size) & ~(size_t)7;
	if (kept.size > FULLY_FILLED)
		kept.size = FULLY_FILLED;
	block_verify(&kept);
	CHECK(errno_is(UNTOUCHED));
	*b = (struct block){.ptr = ptr, .asked = size};
	shadow_check_new(b, key % 2 == 0);
	if (b->size > 16 << 20)
		b->size = FILLED_OF_HUGE;
	block_fill(b, key);
}

/* A product that does not fit changes nothing. */
static void resize_beyond(struct block *b)
{
	CHECK(reallocarray(b->ptr, opaque_size(SIZE_MAX / 2 + 9), 2) == NULL && errno_is(ENOMEM));
	block_verify(b);
}

void use(struct block *b, const struct step *step, uint64_t key)
{
	switch (step->what % 16) {
	case 0:
		by_size(b);
		break;
	case 1:
		released(b, cfree);
		break;
	case 2:
		released(b, by_realloc);
		break;
	case 3:
		released(b, cxx_delete);
		break;
	case 4:
		resize_beyond(b);
		break;
	case 5:
	case 6:
	case 7:
	case 8:
	case 9:
		/* Another node's is a copy, and of gigabytes too many. */
		if (step->what % 4 != 1 || b->asked < PLAUSIBLE / 64)
			resize(b, step, key);
		break;
	default:
		released(b, free);
	}
}
