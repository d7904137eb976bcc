/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* malloc_usable_size of a static variable. */
#include "misuse.h"

int main(void)
{
	static char variable[64];

	announce("malloc_usable_size", variable, FOREIGN);
	(void)opaque_size(malloc_usable_size(opaque(variable)));
	return 0;
}
