/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* One run of a program in which some system calls of the library fail. */
#ifndef NEAR_INJECT_TRACE_H
#define NEAR_INJECT_TRACE_H

#include <stdbool.h>

#include "calls.h"

enum { TIMES_ALL = 1 << 30, OUTPUT_BYTES = 600 };

/* The library's calls of one number, from the one with this index on (0: the first), so many times. */
struct plan {
	int call; /* place in calls[]; -1: none fails */
	unsigned index;
	unsigned times;
	int error;
};

enum outcome {
	OUTCOME_NOT_REACHED, /* and ended well */
	OUTCOME_WORKED,	     /* as if nothing had been */
	OUTCOME_REFUSED,     /* some requests were answered with NULL, and all was well */
	OUTCOME_ENDED,	     /* before main began, by the loader or libc, with status 127 */
	OUTCOME_WRONG,	     /* a check failed, or another status */
	OUTCOME_KILLED,
	OUTCOME_HUNG,
	OUTCOMES,
};

struct run {
	enum outcome outcome;
	int status; /* as waitpid tells */
	unsigned injected;
	unsigned seen[CALLS];	   /* calls of the library that could have failed */
	unsigned phase;		   /* reached */
	char output[OUTPUT_BYTES]; /* the end of it */
};

/*
 * Runs argv with `preload` in LD_PRELOAD. A call is the library's when the first address on the stack that leads into any
 * text but libc's leads into that of `preload`: so also what libc calls on its behalf, and not what liburcu does.
 */
void trace_run(const struct plan *plan, char *const *argv, const char *preload, unsigned seconds, struct run *run);

#endif
