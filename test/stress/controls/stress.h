/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * What the stress programs against the internals share: objects with owner words, workers that take signals, and
 * the account at the end. They are linked with the allocator's layers, not with its libc names.
 */
#ifndef NEAR_TEST_STRESS_H
#define NEAR_TEST_STRESS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { WORKERS = 6 };

/* Ends the program at once: whatever is wrong is wrong in memory that all threads share. */
static inline void die(const char *what)
{
	fprintf(stderr, "%s\n", what);
	_exit(1);
}

static inline uint64_t next_random(uint64_t *state)
{
	uint64_t x = *state ? *state : 88172645463325252ull;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*state = x;
	return x * 0x2545f4914f6cdd1dull >> 16;
}

/* ---- crew.c --------------------------------------------------------------------------------------- */

extern volatile bool crew_stop;

/* The calling worker's number from 1, 0 in threads that are no workers. */
extern __thread unsigned crew_self;

/*
 * Runs `work` in each of WORKERS threads for some seconds while signals rain on them, each handled by `handler`
 * in the midst of what they do; `meanwhile` runs over and over on the main thread, and may be NULL.
 */
void crew_run(unsigned seconds, void (*work)(void), void (*handler)(void), void (*meanwhile)(void));

/* Onto a CPU chosen at random, now and then. */
void crew_migrate(uint64_t *random);

/* ---- objects.c ------------------------------------------------------------------------------------ */

/* An object of one of a few classes, marked as the caller's at both ends; ends the program if it has an owner. */
struct object {
	uint64_t *start;
	size_t words;
};

struct object object_take(uint64_t owner, uint64_t *random);
void object_give(struct object object, uint64_t owner);

/* Takes and gives at random until crew_stop, then gives everything back. */
void objects_work(void);
/* Takes three and gives them back. For signal handlers. */
void objects_interrupt(void);

/* ---- the programs --------------------------------------------------------------------------------- */

void run_caches(unsigned seconds);
/* The same, with remote_free:adopt: magazines come to hold objects of both nodes. */
void run_adopting_caches(unsigned seconds);
void run_stack(unsigned seconds);
void run_forks(unsigned seconds);
void run_purges(unsigned seconds);

/* Ends the program unless near_check finds nothing. */
void expect_sound(void);

/* Ends the program unless heaps and depots are right and nothing is in use, after all was drained. */
void expect_all_objects(void);

#endif
