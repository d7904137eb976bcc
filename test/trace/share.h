/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * What the tracer and the program that it traces say to each other, in memory that both map.
 *
 * The worker does tours (calls of the allocator) and stops at the end of each; it is the traced thread. The helper does
 * one errand at a time, while the worker is stopped, and is not traced.
 */
#ifndef NEAR_TEST_TRACE_SHARE_H
#define NEAR_TEST_TRACE_SHARE_H

#include <limits.h>
#include <linux/futex.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { SHARE_FD = 3 }; /* where the program finds the memory */

enum errand {
	ERRAND_NONE,
	ERRAND_RIVAL, /* allocate and free what the worker does, on the CPU `cpu` */
	ERRAND_DRAIN, /* near_trim */
	ERRAND_FORK,  /* a child without the worker, which looks at everything */
	ERRAND_POP,   /* one object out of the bin of the CPU, */
	ERRAND_PUSH,  /* or into it */
	ERRAND_CHILD, /* for the signal handler: a child that goes on with the tour */
};

struct share {
	uint64_t seed; /* of the next tour */
	uint32_t errand;
	int32_t cpu;	      /* of the errand */
	uint32_t asked, done; /* errands */

	uint64_t interrupted; /* where the signal handler will return to */
	uint64_t handled;     /* signals */
	uint64_t blocks;      /* looked at, one by one */
	uint32_t checks;      /* calls of near_check, if there is one */
};

/* Whether the word left `old`, in so many seconds. */
static inline bool share_wait(uint32_t *word, uint32_t old, time_t seconds)
{
	struct timespec limit = {.tv_sec = seconds};

	while (__atomic_load_n(word, __ATOMIC_ACQUIRE) == old) {
		if (syscall(SYS_futex, word, FUTEX_WAIT, old, &limit, NULL, 0) == -1 && errno == ETIMEDOUT)
			return false;
	}
	return true;
}

static inline void share_tell(uint32_t *word, uint32_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
	syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

#endif
