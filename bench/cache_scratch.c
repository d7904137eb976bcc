/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * cache_scratch: passive false sharing. Little objects that one thread allocated side by side are given to others,
 * which free theirs and go on as in cache_thrash: do the lines then stay divided among them?
 */
#include "sharing.h"

int main(int argc, char **argv)
{
	(void)argc;
	return sharing_main(argv, "cache_scratch", true);
}
