/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* realloc of a pointer into the middle of a large block. */
#include "misuse.h"

int main(void)
{
	char *p = malloc(8u << 20);

	announce("realloc", p + 65536, INSIDE);
	p = opaque(realloc(opaque(p + 65536), 100));
	return 0;
}
