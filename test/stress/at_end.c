/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Preloaded beside the library: near_check when the program ends, unless it has other threads then that may be anywhere.
 * What is wrong ends it with status 99. CHECK_SAYS=1: a line that it was looked at.
 */
#include <dirent.h>
#include <fcntl.h>

#include "check.h"

extern int near_check(void) __attribute__((weak));

static bool is_janitor(const char *task)
{
	char path[80], name[16] = "";
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%s/comm", task);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd >= 0 ? read(fd, name, sizeof(name)) : 0;
	if (fd >= 0)
		close(fd);
	return n == 11 && strncmp(name, "nearmalloc\n", 11) == 0;
}

/* Without /proc, or the means to read it, nobody knows. */
static bool is_single(void)
{
	DIR *tasks = opendir("/proc/self/task");
	const struct dirent *entry;
	unsigned others = 0;

	if (tasks == NULL)
		return false;
	while ((entry = readdir(tasks)) != NULL)
		others += entry->d_name[0] != '.' && !is_janitor(entry->d_name);
	closedir(tasks);
	return others == 1;
}

/* A thread that was joined may be seen there a moment longer. */
static bool is_alone(void)
{
	for (unsigned tries = 0; tries < 100; tries++) {
		if (is_single())
			return true;
		nap_ms(1);
	}
	return false;
}

__attribute__((destructor)) static void check(void)
{
	int saved = errno;

	if (near_check == NULL || !is_alone())
		return;
	if (near_check() > 0)
		_exit(99);
	if (getenv("CHECK_SAYS") != NULL)
		say(2, "checked\n");
	errno = saved;
}
