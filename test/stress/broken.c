/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * An allocator with one fault of choice (BROKEN=name), to show that the tests notice it.
 *
 * A lock and a bump pointer with lists of freed cells by power of two; without a fault it is correct.
 */
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { ORDERS = 64 };

struct head {
	uint64_t order;
	uint64_t offset; /* from the start of the cell to the block */
};

enum fault { UNKNOWN, NONE, OVERLAP, TWICE, SCRIBBLE, DIRTY, FORGET, ERRNO, MISALIGN, LEAK, FAULTS };

static const char *const fault_names[FAULTS] = {"",	 "none",   "overlap", "twice",	  "scribble",
						"dirty", "forget", "errno",   "misalign", "leak"};
static enum fault chosen;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct head *freed[ORDERS];
static char *bump, *bump_end;

static enum fault fault(void)
{
	const char *name = chosen == UNKNOWN ? getenv("BROKEN") : NULL;

	if (chosen == UNKNOWN)
		chosen = NONE;
	for (int i = NONE; name != NULL && i < FAULTS; i++) {
		if (strcmp(fault_names[i], name) == 0)
			chosen = (enum fault)i;
	}
	return chosen;
}

/* A fault strikes once in a while. */
static bool strikes(enum fault which)
{
	static unsigned long calls;

	return fault() == which && __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED) % 997 == 0;
}

static unsigned order_of(size_t size)
{
	unsigned order = 6;

	while (((size_t)1 << order) < size)
		order++;
	return order;
}

static struct head **link_of(struct head *cell)
{
	return (struct head **)(void *)(cell + 1);
}

static char *cell_fresh(size_t size)
{
	size_t room = size > (64u << 20) ? size : 64u << 20;
	char *cell;

	if ((size_t)(bump_end - bump) < size) {
		bump = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			    -1, 0);
		bump_end = bump + room;
		if (bump == MAP_FAILED)
			return bump = bump_end = NULL;
	}
	cell = bump;
	bump += strikes(OVERLAP) ? size - 32 : size;
	return cell;
}

static char *cell_take(unsigned order)
{
	struct head *cell;
	char *got;

	pthread_mutex_lock(&lock);
	cell = freed[order];
	if (cell != NULL && !strikes(TWICE))
		freed[order] = *link_of(cell);
	got = cell != NULL ? (char *)cell : cell_fresh((size_t)1 << order);
	pthread_mutex_unlock(&lock);
	return got;
}

static struct head *head_of(void *ptr)
{
	return (struct head *)ptr - 1;
}

static size_t usable(void *ptr)
{
	return ((size_t)1 << head_of(ptr)->order) - head_of(ptr)->offset;
}

void *memalign(size_t alignment, size_t size)
{
	unsigned order;
	char *cell = NULL, *ptr;

	alignment = alignment < 16 ? 16 : alignment;
	if (size < (size_t)1 << 36 && alignment < (size_t)1 << 36) {
		order = order_of(size + alignment + 2 * sizeof(struct head));
		cell = cell_take(order);
	}
	if (cell == NULL) {
		errno = ENOMEM;
		return NULL;
	}
	ptr = (char *)(((uintptr_t)cell + sizeof(struct head) + alignment - 1) & ~(uintptr_t)(alignment - 1));
	if (strikes(MISALIGN))
		ptr += 8;
	*head_of(ptr) = (struct head){.order = order, .offset = (uint64_t)(ptr - cell)};
	return ptr;
}

void *malloc(size_t size)
{
	return memalign(16, size);
}

void free(void *ptr)
{
	struct head *cell;
	uint64_t order;

	if (ptr == NULL || strikes(LEAK))
		return;
	order = head_of(ptr)->order;
	cell = (struct head *)(void *)((char *)ptr - head_of(ptr)->offset);
	pthread_mutex_lock(&lock);
	*link_of(cell) = freed[order];
	freed[order] = cell;
	if (strikes(SCRIBBLE) && bump > (char *)cell + ((size_t)1 << order))
		memset((char *)cell + ((size_t)1 << order) + 16, 0, 32);
	pthread_mutex_unlock(&lock);
	if (strikes(ERRNO))
		errno = EINVAL;
}

void *calloc(size_t count, size_t size)
{
	size_t bytes;
	void *ptr = __builtin_mul_overflow(count, size, &bytes) ? NULL : malloc(bytes);

	if (ptr == NULL)
		errno = ENOMEM;
	else if (!strikes(DIRTY))
		memset(ptr, 0, bytes);
	return ptr;
}

void *realloc(void *ptr, size_t size)
{
	size_t kept = ptr != NULL ? usable(ptr) : 0;
	void *moved = malloc(size);

	if (moved == NULL)
		return NULL;
	kept = kept < size ? kept : size;
	if (ptr != NULL)
		memcpy(moved, ptr, strikes(FORGET) ? kept / 2 : kept);
	free(ptr);
	return moved;
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
	int before = errno;
	void *ptr;

	if (alignment < sizeof(void *) || (alignment & (alignment - 1)) != 0)
		return EINVAL;
	ptr = memalign(alignment, size);
	errno = before;
	if (ptr == NULL)
		return ENOMEM;
	*out = ptr;
	return 0;
}

void *aligned_alloc(size_t alignment, size_t size)
{
	return memalign(alignment, size);
}

void *valloc(size_t size)
{
	return memalign(4096, size);
}

size_t malloc_usable_size(void *ptr)
{
	return ptr != NULL ? usable(ptr) : 0;
}
