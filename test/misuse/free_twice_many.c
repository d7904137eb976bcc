/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* One of many small blocks freed twice, with thousands of others between. */
#include "misuse.h"

int main(void)
{
	enum { COUNT = 5000 };
	static char *p[COUNT];

	for (int i = 0; i < COUNT; i++)
		p[i] = opaque(malloc(48));
	announce("free", p[2000], TWICE);
	for (int i = 0; i < COUNT; i++)
		free(p[i]);
	free(p[2000]);
	drain();
	return 0;
}
