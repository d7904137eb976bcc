/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* filtered CALL ERROR COMMAND...: the command where a system call is answered with an error from its first instruction. */
#include "filter.h"

int main(int argc, char **argv)
{
	if (argc < 4 || filter_install(argv[1], filter_error(argv[2])) != 0)
		return 2;
	execvp(argv[3], argv + 3);
	return 127;
}
