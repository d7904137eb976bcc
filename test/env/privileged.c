/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* privileged COMMAND...: runs it as a set-user-ID program runs, with a real user that is not the effective one. */
#include <sys/auxv.h>

#include "check.h"

int main(int argc, char **argv)
{
	CHECK(argc > 1);
	if (setresuid(65534, 0, 0) != 0)
		skip("needs root");
	execv(argv[1], argv + 1);
	return 127;
}
