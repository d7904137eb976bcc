/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* free of an address in the upper half. */
#include "misuse.h"

int main(void)
{
	void *p = opaque((void *)0xffff888000001000);

	announce("free", p, FOREIGN);
	free(p);
	return 0;
}
