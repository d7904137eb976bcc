/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * A program with jemalloc inside, and nearmalloc preloaded for nothing: each block is one allocator's from the first to the
 * last, whatever libc and libraries call in between, in threads and in forked children.
 */
#include <signal.h>

#include "check.h"
#include "random.h"
#include "threads.h"

enum { BLOCKS = 300 };

static void *churn(void *seed)
{
	unsigned char *blocks[BLOCKS] = {NULL};
	uint64_t random = (uintptr_t)seed + 1;

	for (unsigned i = 0; i < 20000; i++) {
		unsigned at = (unsigned)random_below(&random, BLOCKS);
		size_t size = random_size(&random, 3000000) + 1;
		void *aligned = NULL;

		CHECK(blocks[at] == NULL || blocks[at][0] == (unsigned char)at);
		switch (i % 4) {
		case 0:
			free(blocks[at]);
			blocks[at] = calloc(1, size);
			break;
		case 1:
			free(blocks[at]);
			CHECK(posix_memalign(&aligned, 64, size) == 0);
			blocks[at] = aligned;
			break;
		default:
			blocks[at] = realloc(blocks[at], size);
		}
		CHECK(blocks[at] != NULL);
		blocks[at][0] = (unsigned char)at;
	}
	for (unsigned i = 0; i < BLOCKS; i++)
		free(blocks[i]);
	free(strdup("by libc"));
	return NULL;
}

int main(void)
{
	pthread_t threads[3];

	for (uintptr_t round = 0; round < 5; round++) {
		pid_t pid;

		for (uintptr_t i = 0; i < 3; i++)
			threads[i] = thread_start(churn, (void *)(round * 3 + i));
		pid = fork();
		CHECK(pid != -1);
		if (pid == 0) {
			alarm(60);
			thread_join(thread_start(churn, NULL));
			exit(0);
		}
		expect_clean_exit(pid);
		for (unsigned i = 0; i < 3; i++)
			thread_join(threads[i]);
	}
	return 0;
}
