/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* os: what this machine says of itself, whatever it is. */
#include <limits.h>
#include <time.h>

#include "unit.h"

Test(os, nodes_of_sys_agree_with_themselves)
{
	unsigned with_memory = 0;

	for (int node = 0; node < OS_NODE_NUMBERS; node++)
		with_memory += near__numa_has_memory(node);
	cr_assert_geq(with_memory, 1);
	cr_assert_eq(near__numa_listed(), with_memory);
	cr_assert_lt(near__numa_last(), OS_NODE_NUMBERS);
	cr_assert_not(near__numa_has_memory(-1));
	cr_assert_not(near__numa_has_memory(OS_NODE_NUMBERS));
	cr_assert_not(near__numa_has_memory(INT_MIN));
	cr_assert_not(near__numa_has_memory(INT_MAX));
}

Test(os, the_clock_goes_on_and_never_back)
{
	uint64_t first = near__os_milliseconds(), last = first, now;

	for (unsigned i = 0; i < 100000; i++, last = now) {
		now = near__os_milliseconds();
		cr_assert_geq(now, last);
	}
	nanosleep(&(struct timespec){.tv_nsec = 60000000}, NULL);
	now = near__os_milliseconds();
	cr_assert(now >= first + 40 && now < first + 60000, "%lu", (unsigned long)(now - first));
}
