/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* A block of several pages freed twice. */
#include "misuse.h"

int main(void)
{
	char *p = opaque(malloc(200000)), *neighbour = opaque(malloc(200000));

	announce("free", p, TWICE);
	free(p);
	free(p);
	drain();
	free(neighbour);
	return 0;
}
