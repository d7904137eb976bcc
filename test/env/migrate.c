/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* Threads that change CPU before every call, and threads that another one pushes about in the middle of calls. */
#include <sched.h>
#include <sys/syscall.h>

#include "shadow.h"
#include "threads.h"

enum { THREADS = 4 };

static cpu_set_t allowed;
static size_t cpus[CPU_SETSIZE], cpu_count;
static pid_t tids[THREADS];
static int stop;

static void pin(pid_t tid, size_t cpu)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	if (sched_setaffinity(tid, sizeof(one), &one) != 0)
		CHECK(errno == ESRCH);
}

static void *hop(void *arg)
{
	struct shadow s;

	shadow_open(&s, 500, 200000, (uint64_t)(uintptr_t)arg + 1);
	for (unsigned long i = 0; i < scaled(60000); i++) {
		pin(0, cpus[random_below(&s.random, cpu_count)]);
		shadow_step(&s);
	}
	shadow_check_overlap(&s);
	shadow_close(&s);
	return NULL;
}

static void *pushed(void *arg)
{
	struct shadow s;

	__atomic_store_n(&tids[(uintptr_t)arg], (pid_t)syscall(SYS_gettid), __ATOMIC_RELEASE);
	shadow_open(&s, 500, 100000, (uint64_t)(uintptr_t)arg + 11);
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
		shadow_steps(&s, 50);
	shadow_close(&s);
	return NULL;
}

static void run_pushed(void)
{
	pthread_t threads[THREADS];
	uint64_t end = now_ns() + 2000000000u * (uint64_t)scaled(1), random = 1;

	for (uintptr_t i = 0; i < THREADS; i++)
		threads[i] = thread_start(pushed, (void *)i);
	while (now_ns() < end) {
		pid_t tid = __atomic_load_n(&tids[random_below(&random, THREADS)], __ATOMIC_ACQUIRE);

		if (tid != 0)
			pin(tid, cpus[random_below(&random, cpu_count)]);
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	for (int i = 0; i < THREADS; i++)
		thread_join(threads[i]);
}

int main(void)
{
	pthread_t threads[THREADS];

	CHECK(sched_getaffinity(0, sizeof(allowed), &allowed) == 0);
	for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (CPU_ISSET(cpu, &allowed))
			cpus[cpu_count++] = cpu;
	}
	if (cpu_count < 2)
		skip("one CPU: nowhere to go");
	for (uintptr_t i = 0; i < THREADS; i++)
		threads[i] = thread_start(hop, (void *)i);
	for (int i = 0; i < THREADS; i++)
		thread_join(threads[i]);
	run_pushed();
	return 0;
}
