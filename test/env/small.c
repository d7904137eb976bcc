/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* A process with one small object. Prints its /proc/self/smaps, without the help of stdio. */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

int main(void)
{
	static char text[4096];
	void *volatile object = malloc(16);
	int fd = open("/proc/self/smaps", O_RDONLY | O_CLOEXEC);
	ssize_t n;

	while ((n = read(fd, text, sizeof(text))) > 0) {
		if (write(STDOUT_FILENO, text, (size_t)n) != n)
			return 1;
	}
	return n < 0 || !object;
}
