/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* Under foreign:ignore foreign pointers are left alone and the program goes on. */
#include "misuse.h"

int main(void)
{
	static char variable[256];
	int local[64] = {0};

	for (int i = 0; i < 1000; i++) {
		free(opaque(variable + 16 * (i % 8)));
		free(opaque(local));
		free(opaque((void *)0xdead000000000100));
	}
	free(opaque(malloc(100)));
	drain();
	return 0;
}
