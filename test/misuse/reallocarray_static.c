/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* reallocarray of a static variable. */
#include "misuse.h"

int main(void)
{
	static char variable[64];

	announce("reallocarray", variable, FOREIGN);
	(void)opaque(reallocarray(opaque(variable), 10, 10));
	return 0;
}
