/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * privileged CONF COMMAND...: runs it as a set-user-ID program runs, with a real user that is not the effective one, and
 * with CONF as NEARMALLOC_CONF.
 */
#include "check.h"

int main(int argc, char **argv)
{
	CHECK(argc > 2 && setenv("NEARMALLOC_CONF", argv[1], 1) == 0);
	if (setresuid(65534, 0, 0) != 0)
		skip("needs root");
	execv(argv[2], argv + 2);
	return 127;
}
