/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * heap [threads=N] [seconds=N] [blocks=N] [max=BYTES] [signals] [migrate] [trim] [fork] [checks]
 *
 * The shadow heap from many threads at once: all functions, contents and overlap checked, while signal handlers
 * allocate, threads change CPU, caches are drained and children are made, as asked. On SIGUSR2 all stop for near_check.
 */
#include <sched.h>
#include <sys/syscall.h>

#include "rest.h"
#include "shadow.h"
#include "threads.h"

enum { MOST_THREADS = 64 };

static unsigned long threads = 4, seconds = 2, blocks = 1000, largest = 4u << 20;
static bool with_signals, with_migration, with_trim, with_fork, with_checks;
static pid_t tids[MOST_THREADS];
static int stop;
static __thread struct shadow in_handler;
static __thread volatile bool busy;

static bool stopped(void)
{
	return __atomic_load_n(&stop, __ATOMIC_RELAXED) != 0;
}

static void on_signal(int number)
{
	int saved = errno;

	(void)number;
	if (in_handler.blocks != NULL && !busy)
		shadow_step(&in_handler);
	errno = saved;
}

static void *work(void *arg)
{
	struct shadow s;
	unsigned turn = 0;

	busy = true;
	shadow_open(&s, (unsigned)blocks, largest, (uint64_t)(uintptr_t)arg + now_ns());
	shadow_open(&in_handler, 30, 100000, (uint64_t)(uintptr_t)arg + 3);
	busy = false;
	__atomic_store_n(&tids[(uintptr_t)arg], (pid_t)syscall(SYS_gettid), __ATOMIC_RELEASE);
	rest_enter();
	while (!stopped()) {
		shadow_steps(&s, 1000);
		busy = true; /* nor may its handlers allocate */
		rest();
		busy = false;
		if (++turn % 64 == 0)
			shadow_check_overlap(&s);
	}
	busy = true;
	shadow_close(&s);
	shadow_close(&in_handler);
	rest_leave();
	return NULL;
}

static void *disturb(void *arg)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	uint64_t random = 1;

	while (!stopped()) {
		uint64_t dice = random_next(&random) >> 20;
		pid_t tid = __atomic_load_n(&tids[dice % threads], __ATOMIC_ACQUIRE);
		cpu_set_t one;

		if (with_signals && tid != 0)
			syscall(SYS_tgkill, getpid(), tid, SIGUSR1);
		if (with_migration && tid != 0 && dice / 64 % 8 == 0) {
			CPU_ZERO(&one);
			CPU_SET(dice / 1024 % (uint64_t)cpus, &one);
			sched_setaffinity(tid, sizeof(one), &one);
		}
		if (with_checks && dice / 8192 % 512 == 0)
			kill(getpid(), SIGUSR2);
		if (dice / 8192 % 16 == 0)
			usleep(50);
	}
	return arg;
}

static void *trim(void *arg)
{
	rest_enter();
	while (!stopped()) {
		malloc_trim(0);
		(void)mallinfo2();
		rest();
		usleep(500);
	}
	rest_leave();
	return arg;
}

static void *make_children(void *arg)
{
	rest_enter();
	while (!stopped()) {
		pid_t pid = fork();

		CHECK(pid != -1);
		if (pid == 0) {
			struct shadow s;

			alarm(20);
			shadow_open(&s, 100, 100000, 3);
			shadow_steps(&s, 300);
			rest_check();
			_exit(0);
		}
		expect_clean_exit(pid);
		rest();
		usleep(1000);
	}
	rest_leave();
	return arg;
}

static unsigned long number_of(const char *word, const char *name, unsigned long value)
{
	size_t length = strlen(name);

	return strncmp(word, name, length) == 0 && word[length] == '=' ? strtoul(word + length + 1, NULL, 10)
								       : value;
}

static void read_arguments(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		threads = number_of(argv[i], "threads", threads);
		seconds = number_of(argv[i], "seconds", seconds);
		blocks = number_of(argv[i], "blocks", blocks);
		largest = number_of(argv[i], "max", largest);
		with_signals |= strcmp(argv[i], "signals") == 0;
		with_migration |= strcmp(argv[i], "migrate") == 0;
		with_trim |= strcmp(argv[i], "trim") == 0;
		with_fork |= strcmp(argv[i], "fork") == 0;
		with_checks |= strcmp(argv[i], "checks") == 0;
	}
	CHECK(threads >= 1 && threads <= MOST_THREADS);
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	pthread_t started[MOST_THREADS + 3];
	unsigned count = 0;

	read_arguments(argc, argv);
	CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
	rest_on_signal();
	rest_enter();
	for (uintptr_t i = 0; i < threads; i++)
		started[count++] = thread_start(work, (void *)i);
	if (with_signals || with_migration || with_checks)
		started[count++] = thread_start(disturb, NULL);
	if (with_trim)
		started[count++] = thread_start(trim, NULL);
	if (with_fork)
		started[count++] = thread_start(make_children, NULL);
	for (uint64_t end = now_ns() + scaled(seconds) * 1000000000u; now_ns() < end; rest())
		nap_ms(5);
	rest_leave();
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < count; i++)
		thread_join(started[i]);
	rest_check();
	printf("%u checks\n", rest_state.checks);
	return 0;
}
