/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* operator delete of a static variable. */
#include "misuse.h"

int main(void)
{
	static char variable[64];

	announce("operator delete", variable, FOREIGN);
	cxx_delete(opaque(variable));
	return 0;
}
