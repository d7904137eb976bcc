/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* free of a pointer into the middle of a large block. */
#include "misuse.h"

int main(void)
{
	char *p = malloc(8u << 20);

	announce("free", p + 4096, INSIDE);
	free(opaque(p + 4096));
	return 0;
}
