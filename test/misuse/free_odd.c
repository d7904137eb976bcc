/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* free of an odd address inside a large block. */
#include "misuse.h"

int main(void)
{
	char *p = malloc(4u << 20);

	announce("free", p + 1, INSIDE);
	free(opaque(p + 1));
	return 0;
}
