/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* free of a pointer into the middle of a small block. */
#include "misuse.h"

int main(void)
{
	char *p = malloc(256);

	announce("free", p + 16, INSIDE);
	free(opaque(p + 16));
	drain();
	return 0;
}
