/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* A small block freed twice in a row. */
#include "misuse.h"

int main(void)
{
	char *p = opaque(malloc(100));

	announce("free", p, TWICE);
	free(p);
	free(p);
	drain();
	return 0;
}
