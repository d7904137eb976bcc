/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Processes made in the middle of everything: fork while other threads allocate and use stdio, atfork handlers that
 * allocate, descendants of forked children, vfork, posix_spawn, popen and _Fork.
 *
 * A child verifies the blocks that it inherited, allocates, starts threads and ends; it has seconds to do so.
 */
#include <signal.h>
#include <spawn.h>

#include "shadow.h"
#include "threads.h"

extern char **environ;
static int stop;
static struct shadow inherited;

static bool stopped(void)
{
	return __atomic_load_n(&stop, __ATOMIC_RELAXED);
}

static void *hammer(void *arg)
{
	struct shadow s;

	shadow_open(&s, 1500, 600000, (uint64_t)(uintptr_t)arg + 1);
	while (!stopped())
		shadow_step(&s);
	shadow_close(&s);
	return NULL;
}

/* Streams that allocate under their own lock. */
static void *use_streams(void *arg)
{
	while (!stopped()) {
		char *text = NULL, *line = NULL;
		size_t size = 0, room = 0;
		FILE *out = open_memstream(&text, &size);

		CHECK(out != NULL);
		for (int i = 0; i < 3000; i++)
			fprintf(out, "%d %s\n", i,
				"a line that makes the buffer grow, under the lock of the stream");
		fclose(out);
		out = fmemopen(text, size, "r");
		CHECK(out != NULL);
		while (getline(&line, &room, out) > 0 && room < 1000)
			continue;
		fclose(out);
		free(line);
		free(text);
	}
	return arg;
}

static void *flush_all(void *arg)
{
	FILE *null = fopen("/dev/null", "w");

	while (!stopped()) {
		if (null != NULL)
			fprintf(null, "%d", 1);
		fflush(NULL);
	}
	return arg;
}

static void *brief(void *arg)
{
	struct shadow s;

	shadow_open(&s, 50, 100000, (uint64_t)(uintptr_t)arg + 7);
	shadow_steps(&s, 300);
	shadow_close(&s);
	return arg;
}

static void live_as_child(unsigned turn)
{
	alarm(20);
	shadow_verify(&inherited);
	shadow_steps(&inherited, 200);
	brief((void *)(uintptr_t)turn);
	if (turn % 4 == 0) {
		pthread_t a = thread_start(brief, (void *)1), b = thread_start(brief, (void *)2);

		thread_join(a);
		thread_join(b);
	}
	if (turn % 16 == 0)
		malloc_trim(0);
	if (turn % 8 == 0)
		exit(0);
	shadow_empty(&inherited);
	_exit(0);
}

static void fork_once(unsigned turn)
{
	pid_t pid = fork();

	CHECK(pid != -1);
	if (pid == 0)
		live_as_child(turn);
	expect_clean_exit(pid);
	shadow_steps(&inherited, 20);
}

static void fork_among(void *(*const others[])(void *), unsigned count, unsigned long forks)
{
	pthread_t threads[8];

	shadow_open(&inherited, 300, 100000, 1234);
	shadow_steps(&inherited, 1000);
	for (unsigned i = 0; i < count; i++)
		threads[i] = thread_start(others[i], (void *)(uintptr_t)i);
	for (unsigned i = 0; i < forks; i++)
		fork_once(i);
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < count; i++)
		thread_join(threads[i]);
	shadow_close(&inherited);
}

static void storm(void)
{
	static void *(*const others[])(void *) = {hammer, hammer, use_streams};

	fork_among(others, 3, scaled(400));
}

/* A thread in a stream waits for memory, another in fflush(NULL) waits for the stream, fork waits for the list. */
static void stdio_ring(void)
{
	static void *(*const others[])(void *) = {use_streams, flush_all, hammer};

	fork_among(others, 3, scaled(700));
}

static void *fork_too(void *arg)
{
	for (unsigned i = 0; i < scaled(150); i++) {
		pid_t pid = fork();

		CHECK(pid != -1);
		if (pid == 0) {
			alarm(20);
			brief(arg);
			_exit(0);
		}
		expect_clean_exit(pid);
	}
	return arg;
}

static void several_forkers(void)
{
	static void *(*const others[])(void *) = {hammer, fork_too, fork_too, fork_too};

	fork_among(others, 4, scaled(150));
}

static void handler_allocates(void)
{
	struct shadow s;

	shadow_open(&s, 40, 3u << 20, 5);
	shadow_steps(&s, 150);
	shadow_close(&s);
}

static bool handlers_wanted;

/* Registered before any library's constructor: its prepare handler runs after all others. */
static void register_first(int argc, char **argv)
{
	handlers_wanted = argc > 1 && strcmp(argv[1], "atfork") == 0;
	if (handlers_wanted)
		pthread_atfork(handler_allocates, handler_allocates, handler_allocates);
}

__attribute__((section(".preinit_array"), used)) static void (*preinit)(int, char **) = register_first;

static void atfork(void)
{
	static void *(*const others[])(void *) = {hammer, use_streams};

	CHECK(handlers_wanted);
	CHECK(pthread_atfork(handler_allocates, handler_allocates, handler_allocates) == 0);
	fork_among(others, 2, scaled(300));
}

static void descend(unsigned depth)
{
	pthread_t thread = thread_start(hammer, (void *)(uintptr_t)depth);
	pid_t pid;

	nap_ms(2);
	pid = fork();
	CHECK(pid != -1);
	if (pid == 0) {
		alarm(30);
		shadow_verify(&inherited);
		shadow_steps(&inherited, 300);
		if (depth > 0)
			descend(depth - 1);
		_exit(0);
	}
	expect_clean_exit(pid);
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	thread_join(thread);
}

static void grandchildren(void)
{
	shadow_open(&inherited, 500, 100000, 17);
	shadow_steps(&inherited, 3000);
	descend(25);
	shadow_close(&inherited);
}

/* No handler of anybody runs; with one thread that is no reason for the child to be without memory. */
static void raw_fork(void)
{
	shadow_open(&inherited, 300, 100000, 17);
	for (unsigned i = 0; i < scaled(200); i++) {
		pid_t pid = _Fork();

		CHECK(pid != -1);
		if (pid == 0) {
			shadow_verify(&inherited);
			shadow_steps(&inherited, 500);
			_exit(0);
		}
		expect_clean_exit(pid);
		shadow_steps(&inherited, 100);
	}
	shadow_close(&inherited);
}

/* Among threads POSIX lets such a child make async-signal-safe calls only. */
static void raw_fork_among_threads(void)
{
	pthread_t a = thread_start(hammer, (void *)1), b = thread_start(hammer, (void *)2);

	for (unsigned i = 0; i < scaled(500); i++) {
		pid_t pid = _Fork();

		if (pid == 0) {
			execl("/bin/true", "true", NULL);
			_exit(1);
		}
		expect_clean_exit(pid);
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	thread_join(a);
	thread_join(b);
}

static pid_t vfork_true(void)
{
	pid_t pid = vfork();

	if (pid == 0) {
		execl("/bin/true", "true", NULL);
		_exit(1);
	}
	return pid;
}

static pid_t spawn_true(void)
{
	static char name[] = "true";
	char *argv[] = {name, NULL};
	pid_t pid = -1;

	CHECK(posix_spawn(&pid, "/bin/true", NULL, NULL, argv, environ) == 0);
	return pid;
}

static void read_from_popen(void)
{
	FILE *pipe = popen("echo hello", "r");
	char *line = NULL;
	size_t size = 0;

	CHECK(pipe != NULL);
	CHECK(getline(&line, &size, pipe) == 6);
	CHECK(pclose(pipe) == 0);
	free(line);
	CHECK(system("exit 3") == 3 << 8);
}

static void spawning(void)
{
	pthread_t a = thread_start(hammer, (void *)1), b = thread_start(use_streams, NULL);

	for (unsigned i = 0; i < scaled(60); i++) {
		pid_t pid = vfork_true();

		CHECK(pid > 0);
		expect_clean_exit(pid);
		expect_clean_exit(spawn_true());
		read_from_popen();
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	thread_join(a);
	thread_join(b);
}

/* Children leave garbage of dead threads behind; the parent must not pay for it: its size stays. */
static void parent_keeps_its_size(void)
{
	static void *(*const others[])(void *) = {hammer};
	long before;

	fork_among(others, 1, 20);
	before = rss_kib();
	stop = 0;
	fork_among(others, 1, scaled(300));
	CHECK(rss_kib() < before + 32 * 1024);
}

static const struct test_case cases[] = {
	{"storm", storm},
	{"stdio_ring", stdio_ring},
	{"several_forkers", several_forkers},
	{"atfork", atfork},
	{"grandchildren", grandchildren},
	{"raw_fork", raw_fork},
	{"raw_fork_among_threads", raw_fork_among_threads},
	{"spawning", spawning},
	{"size", parent_keeps_its_size},
};

int main(int argc, char **argv)
{
	return RUN_CASE(argc, argv, cases);
}
