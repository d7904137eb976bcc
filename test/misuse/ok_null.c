/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* What must not be complained about: null pointers. */
#include "misuse.h"

int main(void)
{
	free(NULL);
	free_sized(NULL, 100);
	free_aligned_sized(NULL, 64, 100);
	cxx_delete(NULL);
	CHECK(malloc_usable_size(NULL) == 0);
	free(opaque(realloc(NULL, 10)));
	return 0;
}
