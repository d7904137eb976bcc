/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* near_realloc_on_node of a local variable. */
#include "misuse.h"

extern void *near_realloc_on_node(void *ptr, size_t size, int node) WEAK;

int main(void)
{
	int on_stack = 0;

	announce("near_realloc_on_node", &on_stack, FOREIGN);
	opaque(near_realloc_on_node(opaque(&on_stack), 100, 0));
	return 0;
}
