/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * One misuse is one program: it says on stdout what the allocator should say on stderr, and then does it.
 *
 * The driver compares the two word for word and wants SIGABRT; a program that announces nothing must end with status 0.
 */
#ifndef NEAR_TEST_MISUSE_H
#define NEAR_TEST_MISUSE_H

#include <malloc.h>

#include "check.h"
#include "names.h"

#define FOREIGN "not a pointer from this allocator"
#define TWICE	"already free"
#define INSIDE	"inside a block, not its start"

static inline void announce(const char *call, const void *ptr, const char *finding)
{
	char line[200];

	snprintf(line, sizeof(line), "nearmalloc: %s(%p): %s\n", call, ptr, finding);
	say(1, line);
}

/* Small blocks are judged when they leave the caches. */
static inline void drain(void)
{
	malloc_trim(0);
}

#endif
