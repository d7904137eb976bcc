/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* How many CPUs there can ever be, which one we are on, and what time it is there. */
#include <sched.h>
#include <sys/sysinfo.h>
#include <time.h>

#include "base/bits.h"
#include "os/kernel.h"
#include "os/os.h"

unsigned near__os_cpu_bound(void)
{
	static unsigned long mask[OS_MAX_CPUS / 64];
	long bytes = KERNEL(SYS_sched_getaffinity, 0, sizeof(mask), mask);

	return bytes > 0 ? (unsigned)bytes * 8 : 1024;
}

/*
 * Affinity, nproc and _SC_NPROCESSORS_CONF all count something else under numactl, in containers or after
 * hot-plug. Without /sys the size of the mask that the kernel returns is a bound: it is made for all possible CPUs.
 */
unsigned near__os_possible_cpus(void)
{
	char text[512];
	const char *list = text;
	long length = near__os_read_file("/sys/devices/system/cpu/possible", text, sizeof(text));
	unsigned long first, last, end = 0;

	while (length > 0 && near__range_next(&list, text + length, &first, &last))
		end = size_max(end, last + 1);
	if (!end)
		end = near__os_cpu_bound();
	return (unsigned)size_min(end, OS_MAX_CPUS);
}

/* The kernel itself, because a program may have put a clock of its own before libc's, and that may call malloc. */
uint64_t near__os_memory(void)
{
	struct sysinfo info = {0};

	return KERNEL(SYS_sysinfo, &info) ? 0 : (uint64_t)info.totalram * info.mem_unit;
}

uint64_t near__os_milliseconds(void)
{
	struct timespec now = {0};

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now); /* no system call where there is a vDSO */
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t near__os_nanoseconds(void)
{
	struct timespec now = {0};

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

int near__os_cpu(void)
{
	int saved = errno, cpu = sched_getcpu();

	errno = saved;
	return cpu;
}
