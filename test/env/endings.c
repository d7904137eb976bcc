/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* A process that ends while its threads allocate, in every way, also after main has left. */
#include <pthread.h>

#include "shadow.h"
#include "threads.h"

enum { THREADS = 4 };

static void *allocate_for_ever(void *arg)
{
	struct shadow s;

	shadow_open(&s, 500, 1u << 20, (uint64_t)(uintptr_t)arg);
	for (;;)
		shadow_step(&s);
	return NULL;
}

static void allocate_at_end(void)
{
	struct shadow s;

	shadow_open(&s, 200, 1u << 20, 3);
	shadow_steps(&s, 2000);
	shadow_close(&s);
}

static void start_threads(void)
{
	for (uintptr_t i = 0; i < THREADS; i++)
		thread_start(allocate_for_ever, (void *)(i + 1));
	nap_ms(20);
}

static void by_exit(void)
{
	atexit(allocate_at_end);
	start_threads();
	exit(0);
}

static void by_quick_exit(void)
{
	at_quick_exit(allocate_at_end);
	start_threads();
	quick_exit(0);
}

static void by_return(void)
{
	atexit(allocate_at_end);
	start_threads();
}

static void *exit_later(void *arg)
{
	(void)arg;
	nap_ms(30);
	allocate_at_end();
	exit(0);
}

static void by_pthread_exit(void)
{
	atexit(allocate_at_end);
	start_threads();
	thread_start(exit_later, NULL);
	pthread_exit(NULL);
}

/* The last thread to end ends the process, with exit handlers and all. */
static void *allocate_a_while(void *arg)
{
	(void)arg;
	nap_ms(10);
	allocate_at_end();
	return NULL;
}

static void by_last_thread(void)
{
	atexit(allocate_at_end);
	for (int i = 0; i < THREADS; i++)
		thread_start(allocate_a_while, NULL);
	pthread_exit(NULL);
}

static void *main_is_cancelled(void *arg)
{
	CHECK(pthread_cancel(*(pthread_t *)arg) == 0);
	return allocate_a_while(NULL);
}

static void by_cancelling_main(void)
{
	static pthread_t self;

	self = pthread_self();
	thread_start(main_is_cancelled, &self);
	for (;;)
		pause();
}

/* The thread that forked is the child's main one, and ends by a return; another is the last. */
static void *fork_and_return(void *arg)
{
	pid_t pid = fork();

	(void)arg;
	CHECK(pid >= 0);
	if (pid == 0)
		thread_start(allocate_a_while, NULL);
	else
		expect_clean_exit(pid);
	return NULL;
}

static void by_forked_thread(void)
{
	thread_join(thread_start(fork_and_return, NULL));
	exit(0);
}

static const struct test_case cases[] = {
	{"exit", by_exit},
	{"quick_exit", by_quick_exit},
	{"return", by_return},
	{"pthread_exit", by_pthread_exit},
	{"last_thread", by_last_thread},
	{"cancelling_main", by_cancelling_main},
	{"forked_thread", by_forked_thread},
};

int main(int argc, char **argv)
{
	return RUN_CASE(argc, argv, cases);
}
