/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* What is lost: memory that is mapped and neither the program's nor the allocator's by its own account. */
#ifndef NEAR_INJECT_ACCOUNT_H
#define NEAR_INJECT_ACCOUNT_H

#include <dlfcn.h>
#include <fcntl.h>
#include <near/malloc.h>

#include "check.h"

enum { TOLERANCE = 256 << 10 }; /* the janitor's stack, and what libc keeps */

#pragma weak near_stats
#pragma weak near_trim

static long at_start;

/* Writable memory of no file, but for the stack and the break. Read without stdio, which allocates. */
static inline size_t mapped_by_kernel(void)
{
	static char text[1 << 20];
	size_t length = 0, sum = 0;
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	ssize_t n;

	CHECK(fd >= 0);
	while ((n = read(fd, text + length, sizeof(text) - 1 - length)) > 0)
		length += (size_t)n;
	close(fd);
	text[length] = '\0';
	for (char *line = text, *end; *line; line = end + 1) {
		unsigned long from, to, inode = 1;
		char rights[5] = "", name = 0;

		end = strchr(line, '\n');
		*end = '\0';
		sscanf(line, "%lx-%lx %4s %*x %*s %lu %c", &from, &to, rights, &inode, &name);
		if (!inode && !name && !strncmp(rights, "rw", 2))
			sum += to - from;
	}
	return sum;
}

/* Bytes that are mapped and that the allocator does not know of; what others map does not change meanwhile. */
static inline long unaccounted(void)
{
	struct near_stats stats;

	CHECK(near_stats(&stats, sizeof(stats)) == 0);
	return (long)mapped_by_kernel() - (long)stats.mapped;
}

static inline void expect_sound(void)
{
	int (*check)(void) = (int (*)(void))dlsym(RTLD_DEFAULT, "near_check");

	int wrong = check ? check() : 0;

	CHECK(!wrong || (wrong < 0 && errno == ENOMEM)); /* it needs memory itself */
}

static inline void account_open(void)
{
	at_start = unaccounted();
}

static inline void expect_nothing_lost(void)
{
	long lost;

	near_trim(0);
	expect_sound();
	lost = unaccounted() - at_start;
	if (lost > TOLERANCE)
		fprintf(stderr, "%ld KiB are mapped and nobody's\n", lost / 1024);
	CHECK(lost <= TOLERANCE);
}

#endif
