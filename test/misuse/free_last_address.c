/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* free of the highest address. */
#include "misuse.h"

int main(void)
{
	void *p = opaque((void *)UINTPTR_MAX);

	announce("free", p, FOREIGN);
	free(p);
	return 0;
}
