/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* Threads under a rain of signals. */
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "base/atomic.h"
#include "stress.h"

volatile bool crew_stop;
__thread unsigned crew_self;

static void (*crew_work)(void);
static void (*crew_handler)(void);
static int allowed_cpus[1024], allowed;

static void on_signal(int number)
{
	(void)number;
	if (crew_self && !crew_stop)
		crew_handler();
}

static void *worker(void *number)
{
	crew_self = (unsigned)(uintptr_t)number;
	crew_work();
	crew_self = 0;
	return NULL;
}

static void find_cpus(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	sched_getaffinity(0, sizeof(set), &set);
	for (int cpu = 0; cpu < 1024; cpu++) {
		if (CPU_ISSET(cpu, &set))
			allowed_cpus[allowed++] = cpu;
	}
}

void crew_migrate(uint64_t *random)
{
	cpu_set_t set;

	if (next_random(random) % 2048 || allowed < 2)
		return;
	CPU_ZERO(&set);
	CPU_SET(allowed_cpus[next_random(random) % (unsigned)allowed], &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void crew_run(unsigned seconds, void (*work)(void), void (*handler)(void), void (*meanwhile)(void))
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	pthread_t threads[WORKERS + 1];
	double end = now() + seconds;

	crew_work = work;
	crew_handler = handler;
	find_cpus();
	sigaction(SIGUSR1, &action, NULL);
	for (uintptr_t i = 1; i <= WORKERS; i++) {
		if (pthread_create(&threads[i], NULL, worker, (void *)i))
			die("no thread");
	}
	while (now() < end) {
		for (unsigned i = 1; i <= WORKERS; i++)
			pthread_kill(threads[i], SIGUSR1);
		if (meanwhile)
			meanwhile();
		else
			usleep(50);
	}
	crew_stop = true;
	for (unsigned i = 1; i <= WORKERS; i++)
		pthread_join(threads[i], NULL);
}
