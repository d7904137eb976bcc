/* SPDX-License-Identifier: MIT */
/*
 * A vector that uses all of what it is given: near_malloc_at_least() tells how large a block really is.
 *
 *	cc grow.c $(pkg-config --cflags --libs nearmalloc)
 */
#include <near/malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct vector {
	int *items;
	size_t used, room;
};

static int append(struct vector *v, int item)
{
	if (v->used == v->room) {
		struct near_sized block = near_malloc_at_least((v->used * 2 + 1) * sizeof(int));

		if (!block.ptr)
			return -1;
		if (v->used)
			memcpy(block.ptr, v->items, v->used * sizeof(int));
		free(v->items);
		v->items = block.ptr;
		v->room = block.size / sizeof(int);
	}
	v->items[v->used++] = item;
	return 0;
}

int main(void)
{
	struct vector v = {NULL, 0, 0};
	void *probe = malloc(1);
	int i, ours = near_owns(probe);
	long long sum = 0;

	free(probe);
	if (!ours) {
		fputs("malloc is not nearmalloc's here\n", stderr);
		return 1;
	}
	for (i = 0; i < 100000; i++) {
		if (append(&v, i))
			return 1;
	}
	while (v.used)
		sum += v.items[--v.used];
	printf("nearmalloc %s: room for %zu, sum %lld\n", near_version(), v.room, sum);
	free(v.items);
	return 0;
}
