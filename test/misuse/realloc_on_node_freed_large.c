/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* near_realloc_on_node of a large block that was freed. */
#include "misuse.h"

extern void *near_realloc_on_node(void *ptr, size_t size, int node) WEAK;

int main(void)
{
	char *p = opaque(malloc(600 << 10));

	free(p);
	announce("near_realloc_on_node", p, TWICE);
	opaque(near_realloc_on_node(opaque(p), 100, 0));
	return 0;
}
