/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* Forks, alone and from among busy threads, under a library whose fork handler comes first: see early.c. */
#include <pthread.h>

#include "check.h"

void early_work(unsigned long seed, unsigned rounds) __attribute__((weak));

static void *busy(void *seed)
{
	for (;;)
		early_work((unsigned long)seed, 100);
	return NULL;
}

static void fork_some(unsigned forks)
{
	for (unsigned i = 0; i < forks; i++) {
		pid_t pid = fork();
		int status;

		CHECK(pid != -1);
		if (pid == 0) {
			alarm(20);
			early_work(1, 40);
			_exit(0);
		}
		CHECK(waitpid(pid, &status, 0) == pid);
		CHECK(status == 0);
	}
}

int main(void)
{
	pthread_t thread;

	CHECK(early_work != NULL);
	fork_some(100);
	for (unsigned long i = 2; i < 5; i++)
		CHECK(pthread_create(&thread, NULL, busy, (void *)i) == 0);
	fork_some(200);
	return 0;
}
