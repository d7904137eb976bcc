/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* realloc of a local variable. */
#include "misuse.h"

int main(void)
{
	char local[64] = {0};
	char *p = opaque(local + 16 - (uintptr_t)local % 16);

	announce("realloc", p, FOREIGN);
	p = opaque(realloc(p, 100));
	return 0;
}
