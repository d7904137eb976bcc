/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* free_sized of a static variable, with a size that no class has. */
#include "misuse.h"

int main(void)
{
	static char variable[64];

	announce("free_sized", variable, FOREIGN);
	free_sized(opaque(variable), 3u << 20);
	return 0;
}
