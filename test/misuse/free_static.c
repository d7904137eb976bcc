/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* free of a static variable. */
#include "misuse.h"

int main(void)
{
	static char variable[64];

	announce("free", variable, FOREIGN);
	free(opaque(variable));
	return 0;
}
