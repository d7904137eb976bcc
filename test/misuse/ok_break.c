/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* The heap below the program break may be libc's, from before we came: left alone. */
#include "misuse.h"

int main(void)
{
	char *p = sbrk(65536);

	CHECK(p != (void *)-1);
	p += 32 - (uintptr_t)p % 16;
	free(opaque(p));
	p = opaque(malloc(100));
	free(p);
	drain();
	return 0;
}
