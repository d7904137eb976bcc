/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* Asking for the home of what is no block is no misuse. */
#include "misuse.h"

extern int near_node_of(const void *ptr) WEAK;

int main(void)
{
	char on_stack, *p = opaque(malloc(3 << 20));

	free(p);
	CHECK(near_node_of(p) == -1 && near_node_of(p + 5000) == -1 && near_node_of(&on_stack) == -1);
	CHECK(near_node_of(NULL) == -1 && near_node_of((void *)0xdeadbeefdeadbeef) == -1);
	return 0;
}
