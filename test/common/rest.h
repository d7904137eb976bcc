/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * near_check while nobody is inside the allocator: when the program says so, and when SIGUSR2 asks for it.
 *
 * A program whose threads come and go looks between them (rest_alone). In one whose threads run on, each that allocates
 * is a worker (rest_enter to rest_leave) and calls rest() now and then, where it waits while a check was asked for; the
 * last that comes looks. Nothing here allocates. Under other allocators all of it does nothing.
 */
#ifndef NEAR_TEST_REST_H
#define NEAR_TEST_REST_H

#include <pthread.h>
#include <signal.h>

#include "check.h"

extern int near_check(void) __attribute__((weak));

static struct {
	pthread_mutex_t lock;
	pthread_cond_t done;
	unsigned workers, waiting, checks;
	int asked;
} rest_state = {.lock = PTHREAD_MUTEX_INITIALIZER, .done = PTHREAD_COND_INITIALIZER};

static inline void rest_check(void)
{
	__atomic_store_n(&rest_state.asked, 0, __ATOMIC_RELAXED);
	CHECK(near_check == NULL || near_check() == 0);
	rest_state.checks++;
}

static inline bool rest_is_asked(void)
{
	return __atomic_load_n(&rest_state.asked, __ATOMIC_RELAXED) != 0;
}

static inline void rest_ask(int number)
{
	(void)number;
	__atomic_store_n(&rest_state.asked, 1, __ATOMIC_RELAXED);
}

/* From now on SIGUSR2 asks. */
static inline void rest_on_signal(void)
{
	struct sigaction action = {.sa_handler = rest_ask, .sa_flags = SA_RESTART};

	CHECK(sigaction(SIGUSR2, &action, NULL) == 0);
}

/* The only thread that allocates: looks if that was asked for. */
static inline void rest_alone(void)
{
	if (rest_is_asked())
		rest_check();
}

/* With the lock: looks when all are here. */
static inline void rest_if_all(void)
{
	if (!rest_is_asked() || rest_state.waiting < rest_state.workers)
		return;
	rest_check();
	pthread_cond_broadcast(&rest_state.done);
}

static inline void rest(void)
{
	unsigned before;

	if (!rest_is_asked())
		return;
	pthread_mutex_lock(&rest_state.lock);
	before = rest_state.checks;
	rest_state.waiting++;
	rest_if_all();
	while (rest_is_asked() && rest_state.checks == before)
		pthread_cond_wait(&rest_state.done, &rest_state.lock);
	rest_state.waiting--;
	pthread_mutex_unlock(&rest_state.lock);
}

static inline void rest_enter(void)
{
	pthread_mutex_lock(&rest_state.lock);
	rest_state.workers++;
	pthread_mutex_unlock(&rest_state.lock);
}

static inline void rest_leave(void)
{
	pthread_mutex_lock(&rest_state.lock);
	rest_state.workers--;
	if (rest_state.workers > 0)
		rest_if_all();
	pthread_mutex_unlock(&rest_state.lock);
}

#endif
