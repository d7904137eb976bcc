/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* The heap below the program break may be libc's, from before we came: left alone, and copied by realloc. */
#include "misuse.h"

int main(void)
{
	char *p = sbrk(65536), *copy;

	CHECK(p != (void *)-1);
	p += 32 - (uintptr_t)p % 16;
	memset(p, 0x33, 3000);
	free(opaque(p));
	copy = realloc(opaque(p), 3000);
	CHECK(copy != NULL && copy != p && memcmp(copy, p, 3000) == 0);
	free(copy);
	p = opaque(malloc(100));
	free(p);
	drain();
	return 0;
}
