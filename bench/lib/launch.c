/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * launch: starts a program and tells what it cost.
 *
 *     launch FD PRELOAD PROGRAM [ARGUMENT...]      PRELOAD: LD_PRELOAD of the program only; empty: none
 *
 * Writes to FD `pid N`, and at the end `exit N` or `signal N` and lines as workloads print them. It is small because
 * the kernel counts the RSS of whoever starts a process as that process's; a runner in Python would hide the peaks of
 * small programs.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double seconds(struct timeval t)
{
	return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static void be_program(const char *preload, char **argv)
{
	if (*preload)
		setenv("LD_PRELOAD", preload, 1);
	else
		unsetenv("LD_PRELOAD");
	execv(argv[0], argv);
	perror(argv[0]);
	_exit(127);
}

static void tell_cost(int fd, double wall, const struct rusage *usage)
{
	dprintf(fd, "run_wall_s %.6f lower\n", wall);
	dprintf(fd, "run_user_s %.6f lower\n", seconds(usage->ru_utime));
	dprintf(fd, "run_sys_s %.6f lower\n", seconds(usage->ru_stime));
	dprintf(fd, "run_peak_rss %ld lower\n", usage->ru_maxrss);
	dprintf(fd, "run_minor_faults %ld lower\n", usage->ru_minflt);
	dprintf(fd, "run_major_faults %ld lower\n", usage->ru_majflt);
	dprintf(fd, "run_voluntary_switches %ld none\n", usage->ru_nvcsw);
	dprintf(fd, "run_involuntary_switches %ld none\n", usage->ru_nivcsw);
}

int main(int argc, char **argv)
{
	struct rusage usage;
	double began = now();
	int fd, status;
	pid_t child;

	if (argc < 4) {
		fprintf(stderr, "usage: launch FD PRELOAD PROGRAM [ARGUMENT...]\n");
		return 2;
	}
	fd = atoi(argv[1]);
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	child = fork();
	if (child == 0)
		be_program(argv[2], argv + 3);
	if (child < 0) {
		perror("launch");
		return 2;
	}
	dprintf(fd, "pid %d\n", (int)child);
	if (wait4(child, &status, 0, &usage) != child) {
		perror("launch");
		return 2;
	}
	if (WIFEXITED(status))
		dprintf(fd, "exit %d\n", WEXITSTATUS(status));
	else
		dprintf(fd, "signal %d\n", WTERMSIG(status));
	tell_cost(fd, now() - began, &usage);
	return 0;
}
