/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* A small block freed again after the caches had given it back. */
#include "misuse.h"

int main(void)
{
	char *p = opaque(malloc(100)), *neighbour = opaque(malloc(100));

	free(p);
	drain();
	announce("free", p, TWICE);
	free(p);
	drain();
	free(neighbour);
	return 0;
}
