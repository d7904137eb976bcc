/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* Chooses what to stress: caches, adopt, stack, forks or purges, for so many seconds. Status 77: not on this machine. */
#include <string.h>

#include "cache/cache.h"
#include "stress.h"

int main(int argc, char **argv)
{
	unsigned seconds = argc > 2 ? (unsigned)atoi(argv[2]) : 5;
	const char *wanted = getenv("STRESS_MODE");

	if (wanted && near__mode != (strcmp(wanted, "rseq") ? NEAR_MODE_LOCKED : NEAR_MODE_RSEQ)) {
		printf("the mode is not %s here\n", wanted);
		return 77;
	}
	if (argc > 1 && !strcmp(argv[1], "caches"))
		run_caches(seconds);
	else if (argc > 1 && !strcmp(argv[1], "adopt"))
		run_adopting_caches(seconds);
	else if (argc > 1 && !strcmp(argv[1], "stack"))
		run_stack(seconds);
	else if (argc > 1 && !strcmp(argv[1], "forks"))
		run_forks(seconds);
	else if (argc > 1 && !strcmp(argv[1], "purges"))
		run_purges(seconds);
	else
		return 2;
	return 0;
}
