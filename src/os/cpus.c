/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* How many CPUs there can ever be, and which one we are on. */
#include <sched.h>
#include <stdlib.h>

#include "os/kernel.h"
#include "os/os.h"

/* The largest number in a list such as "0-3,8-11", plus one. */
static unsigned list_end(const char *list)
{
	unsigned long end = 0;

	while (*list >= '0' && *list <= '9') {
		char *next;
		unsigned long n = strtoul(list, &next, 10);

		if (n + 1 > end)
			end = n + 1;
		list = *next ? next + 1 : next;
	}
	return (unsigned)end;
}

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
	char buffer[512];
	unsigned end = 0;

	if (near__os_read_file("/sys/devices/system/cpu/possible", buffer, sizeof(buffer)) > 0)
		end = list_end(buffer);
	if (!end)
		end = near__os_cpu_bound();
	return end < OS_MAX_CPUS ? end : OS_MAX_CPUS;
}

int near__os_cpu(void)
{
	int saved = errno, cpu = sched_getcpu();

	errno = saved;
	return cpu;
}
