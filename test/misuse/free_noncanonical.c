/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* free of an address that the processor does not have. */
#include "misuse.h"

int main(void)
{
	void *p = opaque((void *)0xdead000000000100);

	announce("free", p, FOREIGN);
	free(p);
	return 0;
}
