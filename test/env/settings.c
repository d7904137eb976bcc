/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* A program that brings options of its own; the linker must export the string (-rdynamic). */
#include <stdlib.h>

extern const char *near_conf;
const char *near_conf = "foreign:ignore,confirm_conf:true,percpu_cache:1M";

int main(void)
{
	void *volatile p = malloc(10);

	free(p);
	return 0;
}
