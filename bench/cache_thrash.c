/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * cache_thrash: active false sharing. Each thread allocates a little object, writes it many times, and frees it: do
 * two threads get halves of one line? With more CPUs the time should not grow.
 */
#include "sharing.h"

int main(int argc, char **argv)
{
	(void)argc;
	return sharing_main(argv, "cache_thrash", false);
}
