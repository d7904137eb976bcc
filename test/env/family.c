/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Children that live: of a threaded parent, they use every size class, free what they inherited, start threads, fork
 * again and exec. Each has its own copy of the heap, so none may notice the others, nor the parent any of them.
 *
 *   family CASE; family member is what children exec
 */
#include <dlfcn.h>
#include <signal.h>
#include <spawn.h>

#include "shadow.h"
#include "threads.h"

enum { INHERITED = 400, SIZES = 34, EACH = 2, DEPTH = 2 };

extern char **environ;
static bool stop;
static struct shadow inherited;

static void expect_sound(void)
{
	int (*check)(void) = (int (*)(void))dlsym(RTLD_DEFAULT, "near_check");

	CHECK(!check || check() == 0);
}

/* Sizes of every class and beyond, each several times: nobody can have locked a child out of any. */
static void use_all_classes(void)
{
	static struct block blocks[SIZES * EACH];

	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < SIZES * EACH; i++) {
			struct block *b = &blocks[i];
			unsigned size = i / EACH, power = size / 2 + 3;

			b->size = ((size_t)2 << power) + (size % 2 ? (size_t)1 << power : 0) - i % EACH;
			b->ptr = opaque(malloc(b->size));
			CHECK(b->ptr != NULL);
			block_fill(b, i + (uint64_t)getpid());
		}
		for (unsigned i = 0; i < SIZES * EACH; i++) {
			block_verify(&blocks[i]);
			free(blocks[i].ptr);
		}
	}
}

/* Locks are held often: spans by small objects, chunks and extents by large ones. */
static void *hammer(void *seed)
{
	struct shadow s;

	shadow_open(&s, 800, (uintptr_t)seed % 2 ? 5000 : 800000, (uintptr_t)seed + 1);
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
		shadow_step(&s);
	shadow_close(&s);
	return NULL;
}

static void *brief(void *seed)
{
	struct shadow s;

	shadow_open(&s, 60, 100000, (uintptr_t)seed + 9);
	shadow_steps(&s, 300);
	shadow_close(&s);
	return NULL;
}

static void exec_member(void)
{
	execl("/proc/self/exe", "family", "member", NULL);
	_exit(9);
}

static void spawn_member(void)
{
	static char name[] = "family", word[] = "member";
	char *argv[] = {name, word, NULL};
	pid_t pid = -1;

	CHECK(posix_spawn(&pid, "/proc/self/exe", NULL, NULL, argv, environ) == 0);
	expect_clean_exit(pid);
}

/* A child that hangs is ended by then. */
static unsigned child_seconds(void)
{
	const char *seconds = getenv("NEAR_CHILD_SECONDS");

	return seconds != NULL ? (unsigned)atoi(seconds) : 60;
}

static void live(unsigned turn, unsigned depth);

static void have_child(unsigned turn, unsigned depth)
{
	pid_t pid = fork();

	CHECK(pid != -1);
	if (pid == 0)
		live(turn, depth);
	expect_clean_exit(pid);
}

/* A child, with what it does in an order that turns. Its threads are at work when it forks. */
static void live(unsigned turn, unsigned depth)
{
	pthread_t threads[2];

	alarm(child_seconds());
	shadow_verify(&inherited);
	use_all_classes();
	if (turn % 3 == 0)
		shadow_empty(&inherited);
	for (unsigned i = 0; i < 2; i++)
		threads[i] = thread_start(brief, (void *)(uintptr_t)(turn + i));
	if (depth > 0)
		have_child(turn + 1, depth - 1);
	if (turn % 4 == 1)
		exec_member();
	if (turn % 4 == 2)
		spawn_member();
	for (unsigned i = 0; i < 2; i++)
		thread_join(threads[i]);
	shadow_steps(&inherited, 300);
	shadow_verify(&inherited);
	shadow_empty(&inherited);
	malloc_trim(0);
	expect_sound();
	_exit(0);
}

static void *parent_of_some(void *seed)
{
	for (unsigned i = 0; i < scaled(8); i++)
		have_child((unsigned)(uintptr_t)seed + i, DEPTH);
	return NULL;
}

/* Two threads fork, two allocate. What the parent has is intact after each. */
static void storm(void)
{
	pthread_t hammers[2], other;

	shadow_open(&inherited, INHERITED, 100000, 77);
	shadow_steps(&inherited, 3000);
	for (unsigned i = 0; i < 2; i++)
		hammers[i] = thread_start(hammer, (void *)(uintptr_t)i);
	other = thread_start(parent_of_some, (void *)5);
	parent_of_some((void *)0);
	thread_join(other);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < 2; i++)
		thread_join(hammers[i]);
	shadow_verify(&inherited);
	shadow_close(&inherited);
	use_all_classes();
	expect_sound();
}

/* What a child frees of its parent's it can have again: its size stays, however often. */
static void child_of_child(void)
{
	shadow_open(&inherited, INHERITED, 100000, 78);
	shadow_steps(&inherited, 3000);
	for (unsigned depth = 0; depth < 20; depth++) {
		pid_t pid;

		stop = false;
		pthread_t thread = thread_start(hammer, (void *)(uintptr_t)depth);

		nap_ms(1);
		pid = fork();
		CHECK(pid != -1);
		if (pid != 0) {
			__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
			thread_join(thread);
			expect_clean_exit(pid);
			if (depth > 0)
				_exit(0);
			return;
		}
		alarm(child_seconds());
		shadow_verify(&inherited);
		shadow_steps(&inherited, 500);
	}
	use_all_classes();
	CHECK(rss_kib() < 300 * 1024);
	_exit(0);
}

static void member(void)
{
	use_all_classes();
	brief(NULL);
}

static const struct test_case cases[] = {{"storm", storm}, {"child_of_child", child_of_child}, {"member", member}};

int main(int argc, char **argv)
{
	return RUN_CASE(argc, argv, cases);
}
