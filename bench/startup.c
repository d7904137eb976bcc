/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * startup: what the allocator adds to a program that does nothing, /bin/true, from the call that starts it until its
 * end has been noticed: the median of many starts. Its system calls are counted, and its greatest RSS read, in another
 * one that is traced.
 */
#include <signal.h>
#include <spawn.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "workload.h"

static char program[] = "/bin/true";
static char *program_argv[] = {program, NULL};

/* ---- time ----------------------------------------------------------------------------------------- */

static double start_us(void)
{
	uint64_t from = now_ns();
	pid_t child;
	int status;

	if (posix_spawn(&child, program, NULL, NULL, program_argv, environ) || waitpid(child, &status, 0) != child)
		die("cannot start %s", program);
	if (status)
		die("%s failed", program);
	return (double)(now_ns() - from) / 1e3;
}

/* ---- system calls and memory ---------------------------------------------------------------------- */

/* A child that waits behind its exec for the tracer. */
static pid_t start_traced(void)
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		execv(program, program_argv);
		_exit(127);
	}
	if (child < 0 || waitpid(child, &status, 0) != child || !WIFSTOPPED(status) ||
	    ptrace(PTRACE_SETOPTIONS, child, NULL,
		   PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC | PTRACE_O_TRACEEXIT | PTRACE_O_EXITKILL))
		die("cannot trace %s", program);
	return child;
}

static double peak_kib(pid_t process)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/status", (int)process);
	return proc_kib(path, "\nVmHWM:");
}

static bool stopped_by_event(int status, int event)
{
	return status >> 8 == (SIGTRAP | event << 8);
}

/* Those of the program, and not of the fork before it; the exec is the first. */
static void count_calls(void)
{
	pid_t child = start_traced();
	unsigned long stops = 0;
	double peak = 0;
	bool begun = false;
	int status;

	while (!ptrace(PTRACE_SYSCALL, child, NULL, NULL) && waitpid(child, &status, 0) == child &&
	       WIFSTOPPED(status)) {
		begun |= stopped_by_event(status, PTRACE_EVENT_EXEC);
		stops += begun && WSTOPSIG(status) == (SIGTRAP | 0x80);
		if (stopped_by_event(status, PTRACE_EVENT_EXIT))
			peak = peak_kib(child);
	}
	if (!WIFEXITED(status) || WEXITSTATUS(status) || !begun || !peak)
		die("%s failed when traced", program);
	/* Each call stops twice, but exec begins before the first counted stop, and exit_group does not return. */
	report("system_calls", (double)(stops + 2) / 2, "lower");
	report("program_peak_kib", peak, "lower");
}

static void run(void)
{
	unsigned long starts = scaled("starts", 300, 100);
	double *us = table(starts, sizeof(*us));

	start();
	for (unsigned long i = 0; i < starts; i++)
		us[i] = start_us();
	report("start_us", median(us, (unsigned)starts), "lower");
	report("start_us_least", us[0], "lower");
	count_calls();
	stop(starts);
}

int main(int argc, char **argv)
{
	(void)argc;
	return workload_main(argv, &(struct workload){"startup", NULL, run});
}
