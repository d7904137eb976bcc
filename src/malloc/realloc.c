/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* realloc: in place inside the class or the run, by the kernel's page tables for mappings, else by copying. */
#include <errno.h>
#include <string.h>

#include "malloc/fast.h"
#include "os/os.h"

static void *copy(void *ptr, size_t old_size, size_t size, int node)
{
	void *block = malloc_on(size, node);

	if (!block)
		return NULL;
	return memcpy(block, ptr, size_min(old_size, size));
}

/* A block of libc's, from before we were loaded, is copied and left. Its size is not known: the break bounds it. */
static void *adopt(void *ptr, size_t size, int node, const char *call)
{
	size_t bytes = size;

	near__foreign(ptr, call);
	while (bytes && !near__os_in_break((uintptr_t)ptr + bytes - 1))
		bytes /= 2;
	return copy(ptr, bytes, size, node);
}

static bool is_on(struct block block, int node)
{
	return node == NODE_OF_CALLER || block_node(block) == (unsigned)node;
}

/* Whether the block that is there is just what malloc(size) would give, or the next best thing. */
static bool stays(struct block block, size_t size)
{
	return block.bin && size <= block.bytes && near__class[class_of(size)].bytes == block.bytes;
}

void *near__realloc(void *ptr, size_t size, int node, const char *call)
{
	struct block block;
	void *moved;
	int saved;

	if (!ptr)
		return malloc_on(size, node);
	if (!size) {
		fast_free(ptr, call);
		return NULL;
	}
	block = near__lookup(ptr);
	if (unlikely(!block.bytes))
		return adopt(ptr, size, node, call);
	if (size > PTRDIFF_MAX)
		return near__enomem();
	if (is_on(block, node) && (size <= CLASS_LARGEST ? stays(block, size) : !block.bin)) {
		if (block.bin)
			return ptr;
		moved = near__large_resize(block_span(block), block.index, size);
		if (moved)
			return moved;
	}
	saved = errno;
	moved = copy(ptr, block.bytes, size, node);
	/* Shrinking cannot fail: there is a block already, if that is one where it should be. */
	if (!moved && size <= block.bytes && (is_on(block, node) || !near__topology.strict)) {
		errno = saved;
		return ptr;
	}
	if (!moved)
		return NULL;
	fast_free(ptr, call);
	return moved;
}
