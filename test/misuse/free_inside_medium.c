/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* free of a pointer into the second page of a block of several pages. */
#include "misuse.h"

int main(void)
{
	char *p = malloc(100000);

	announce("free", p + 8192, INSIDE);
	free(opaque(p + 8192));
	drain();
	return 0;
}
