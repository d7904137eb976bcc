/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* free of a small number. */
#include "misuse.h"

int main(void)
{
	void *p = opaque((void *)0x30);

	announce("free", p, FOREIGN);
	free(p);
	return 0;
}
