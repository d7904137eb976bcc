/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * All descriptors closed under the allocator, which keeps none: it works on, and what the program opens afterwards
 * under the same numbers stays untouched.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "shadow.h"
#include "threads.h"

enum { FILES = 40 };

static void *work(void *arg)
{
	struct shadow s;

	shadow_open(&s, 500, 4u << 20, (uint64_t)(uintptr_t)arg + 1);
	shadow_steps(&s, 20000);
	malloc_trim(0);
	(void)mallinfo2();
	shadow_close(&s);
	return NULL;
}

static void work_among_threads(void)
{
	pthread_t a, b;
	pid_t pid;

	a = thread_start(work, (void *)1);
	b = thread_start(work, (void *)2);
	thread_join(a);
	thread_join(b);
	pid = fork();
	if (pid == 0) {
		work((void *)3);
		_exit(0);
	}
	expect_clean_exit(pid);
}

int main(void)
{
	char name[] = "/tmp/near-closed-XXXXXX";
	struct stat first, now;
	int file;

	work((void *)1);
	CHECK(close_range(0, ~0u, 0) == 0);
	malloc_stats(); /* to a descriptor that is not there */
	work_among_threads();

	file = mkstemp(name);
	CHECK(file == 0);
	unlink(name);
	CHECK(fstat(0, &first) == 0);
	for (int i = 1; i < FILES; i++)
		CHECK(dup(0) == i);
	work_among_threads();
	for (int i = 0; i < FILES; i++) {
		CHECK(fstat(i, &now) == 0);
		CHECK(now.st_ino == first.st_ino && now.st_dev == first.st_dev && now.st_size == 0);
	}
	CHECK(dup(0) == FILES);
	return 0;
}
