/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * A bit of everything in a third of a second, for environments in which something else is odd:
 *
 *   smoke [late CALL ERROR]      a seccomp filter is installed half-way, while threads run
 *
 * Refused threads are not an error, refused memory is.
 */
#include <sys/rseq.h>

#include "filter.h"
#include "shadow.h"
#include "threads.h"

enum { THREADS = 3 };

static const char *late_call, *late_error;
static int thread_limit = THREADS;

static void *mix(void *arg)
{
	struct shadow s;

	shadow_open(&s, 400, 2u << 20, (uint64_t)(uintptr_t)arg + 1);
	shadow_steps(&s, scaled(6000));
	shadow_check_overlap(&s);
	shadow_close(&s);
	return NULL;
}

static void run_threads(void)
{
	pthread_t threads[THREADS];
	int started = 0;

	while (started < thread_limit &&
	       thread_try(&threads[started], 0, mix, (void *)(uintptr_t)started) == 0)
		started++;
	mix((void *)(uintptr_t)99);
	for (int i = 0; i < started; i++)
		thread_join(threads[i]);
}

static int running;

static void *mix_across_filter(void *stop)
{
	struct shadow s;

	shadow_open(&s, 300, 1u << 20, 77);
	__atomic_store_n(&running, 1, __ATOMIC_RELEASE);
	while (!__atomic_load_n((int *)stop, __ATOMIC_ACQUIRE))
		shadow_steps(&s, 100);
	shadow_steps(&s, 3000);
	shadow_close(&s);
	return NULL;
}

/* The filter falls upon a thread in the middle of its work. */
static void become_filtered(void)
{
	static int stop;
	pthread_t thread = thread_start(mix_across_filter, &stop);

	while (!__atomic_load_n(&running, __ATOMIC_ACQUIRE))
		nap_ms(1);
	nap_ms(5);
	CHECK(filter_install(late_call, filter_error(late_error)) == 0);
	__atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
	thread_join(thread);
	/* glibc aborts in a new thread that it cannot register as it did the first */
	if (__rseq_size != 0 && (strcmp(late_call, "rseq") == 0 || strcmp(late_call, "all") == 0))
		thread_limit = 0;
}

static void child(void)
{
	pid_t pid = fork();

	if (pid == -1)
		return;
	if (pid == 0) {
		mix((void *)(uintptr_t)5);
		_exit(0);
	}
	expect_clean_exit(pid);
}

/* Large blocks, zeroed ones after use, growth by realloc, and the calls that look at the whole heap. */
static void once(void)
{
	unsigned char *p = malloc(40u << 20);

	CHECK(p != NULL);
	memset(p, 1, 40u << 20);
	p = realloc(p, 60u << 20);
	CHECK(p != NULL && p[(40u << 20) - 1] == 1);
	p = realloc(p, 1000);
	CHECK(p != NULL && p[999] == 1);
	free(p);
	malloc_trim(0);
	p = calloc(1, 50u << 20);
	CHECK(p != NULL && all_zero(p, 1u << 20) && p[(50u << 20) - 1] == 0);
	free(p);
	(void)mallinfo2();
}

int main(int argc, char **argv)
{
	run_threads();
	once();
	if (argc == 4) {
		late_call = argv[2];
		late_error = argv[3];
		become_filtered();
	}
	run_threads();
	once();
	child();
	run_threads();
	return 0;
}
