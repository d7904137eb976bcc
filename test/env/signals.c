/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Signal handlers that allocate and free, at 10 kHz for each thread, while the threads are inside the allocator.
 *
 * No other allocator promises this; under glibc these programs hang or crash.
 */
#include <signal.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include "shadow.h"
#include "threads.h"

enum { THREADS = 3 };

/* Executables use initial-exec thread-local data: a handler may touch it. */
static __thread struct shadow in_handler;
static __thread volatile bool busy;
static __thread volatile unsigned long handled;
static unsigned long total_handled;
static unsigned seconds = 2;

static void on_signal(int number)
{
	int saved = errno;

	(void)number;
	if (in_handler.blocks != NULL && !busy) {
		busy = true;
		shadow_steps(&in_handler, 3);
		busy = false;
	} else {
		/* a handler that interrupted a handler */
		struct block b = {.size = 200 + handled % 3000};

		b.ptr = malloc(b.size);
		CHECK(b.ptr != NULL);
		block_fill(&b, handled);
		block_verify(&b);
		free(b.ptr);
	}
	handled++;
	errno = saved;
}

static timer_t timer_for_me(long interval_ns)
{
	struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1};
	struct itimerspec often = {.it_interval.tv_nsec = interval_ns, .it_value.tv_nsec = interval_ns};
	timer_t timer;

#ifdef sigev_notify_thread_id
	event.sigev_notify_thread_id = (int)syscall(SYS_gettid);
#else
	event._sigev_un._tid = (int)syscall(SYS_gettid);
#endif
	CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
	CHECK(timer_settime(timer, 0, &often, NULL) == 0);
	return timer;
}

static void *interrupted(void *arg)
{
	uint64_t end = now_ns() + seconds * 1000000000u * (uint64_t)scaled(1);
	struct shadow s;
	timer_t timer;

	shadow_open(&s, 600, 1u << 20, (uint64_t)(uintptr_t)arg + 1);
	shadow_open(&in_handler, 40, 200000, (uint64_t)(uintptr_t)arg + 100);
	timer = timer_for_me(100000);
	while (now_ns() < end || handled <= seconds * 1000 / THREADS)
		shadow_steps(&s, 100);
	timer_delete(timer);
	shadow_close(&s);
	busy = true; /* one signal may be pending */
	shadow_close(&in_handler);
	__atomic_fetch_add(&total_handled, handled, __ATOMIC_RELAXED);
	return NULL;
}

static void catch_signals(int flags)
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = flags | SA_RESTART};

	CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
}

static void run_interrupted(void)
{
	pthread_t threads[THREADS];

	for (uintptr_t i = 0; i < THREADS; i++)
		threads[i] = thread_start(interrupted, (void *)i);
	for (int i = 0; i < THREADS; i++)
		thread_join(threads[i]);
	CHECK(total_handled > seconds * 1000);
}

static void storm(void)
{
	catch_signals(0);
	run_interrupted();
}

static void nested(void)
{
	catch_signals(SA_NODEFER);
	run_interrupted();
}

/* On small alternative stacks. */
static void *with_alternative_stack(void *arg)
{
	stack_t stack = {.ss_size = 16384};

	stack.ss_sp = malloc(stack.ss_size);
	CHECK(sigaltstack(&stack, NULL) == 0);
	interrupted(arg);
	stack.ss_flags = SS_DISABLE;
	CHECK(sigaltstack(&stack, NULL) == 0);
	free(stack.ss_sp);
	return NULL;
}

static void alternative_stack(void)
{
	pthread_t threads[THREADS];

	catch_signals(SA_ONSTACK);
	for (uintptr_t i = 0; i < THREADS; i++)
		threads[i] = thread_start(with_alternative_stack, (void *)i);
	for (int i = 0; i < THREADS; i++)
		thread_join(threads[i]);
}

static int stop;

static void *drain(void *arg)
{
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		malloc_trim(0);
		nap_ms(1);
	}
	return arg;
}

static void while_draining(void)
{
	pthread_t thread;

	catch_signals(0);
	thread = thread_start(drain, NULL);
	run_interrupted();
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	thread_join(thread);
}

/* Handlers run inside fork too, in the parent and in the child. */
static void *fork_often(void *arg)
{
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		pid_t pid = fork();

		CHECK(pid != -1);
		if (pid == 0) {
			alarm(20);
			for (int i = 0; i < 100; i++) {
				free(opaque(malloc(100 + (size_t)i * 500)));
				raise(SIGUSR1);
			}
			_exit(0);
		}
		expect_clean_exit(pid);
	}
	return arg;
}

static void while_forking(void)
{
	pthread_t thread;

	catch_signals(0);
	thread = thread_start(fork_often, NULL);
	run_interrupted();
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	thread_join(thread);
}

static const struct test_case cases[] = {
	{"storm", storm},
	{"nested", nested},
	{"alternative_stack", alternative_stack},
	{"draining", while_draining},
	{"forking", while_forking},
};

int main(int argc, char **argv)
{
	return RUN_CASE(argc, argv, cases);
}
