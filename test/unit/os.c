/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* os: what this machine says of itself, whatever it is. */
#include <fcntl.h>
#include <limits.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "filter.h"
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

/* Before Linux 5.14 madvise knows nothing of it. */
Test(os, populating_leaves_what_is_there)
{
	size_t page = near__os_page_size, bytes = 8 * page;

	for (int old = 0; old < 2; old++) {
		char *memory = near__os_map(bytes, page);
		unsigned char resident[8] = {0};

		cr_assert_not_null(memory);
		cr_assert(!old || !filter_install("madvise", EINVAL));
		memory[3 * page] = 'x';
		cr_assert_eq(near__os_populate(memory, bytes), 0);
		cr_assert_eq(mincore(memory, bytes, resident), 0);
		for (int i = 0; i < 8; i++) {
			cr_assert(resident[i] & 1, "page %d", i);
			cr_assert_eq(memory[i * page], i == 3 ? 'x' : 0);
		}
	}
}

/* Before Linux 6.15 madvise knows of no others than one by one; what is locked stays. */
Test(os, ranges_go_back_together_or_one_by_one)
{
	enum { RANGES = 4, KEPT = 2 };
	size_t page = near__os_page_size, bytes = 2 * RANGES * page;

	for (int old = 0; old < 2; old++) {
		char *memory = near__os_map(bytes, page);
		struct iovec range[RANGES];

		cr_assert_not_null(memory);
		cr_assert(!old || !filter_install("process_madvise", EPERM));
		memset(memory, 'x', bytes);
		for (unsigned i = 0; i < RANGES; i++)
			range[i] = (struct iovec){memory + 2 * i * page, page};
		cr_assert_eq(near__os_purge_ranges(range, RANGES, false), (1u << RANGES) - 1);
		for (unsigned i = 0; i < 2 * RANGES; i++)
			cr_assert_eq(memory[i * page], i % 2 ? 'x' : 0, "page %u", i);
		memset(memory, 'x', bytes);
		if (syscall(SYS_mlock, range[KEPT].iov_base, page)) /* sanitizers make nothing of mlock */
			cr_skip_test("nothing may be locked");
		cr_assert_eq(near__os_purge_ranges(range, RANGES, false), ((1u << RANGES) - 1) & ~(1u << KEPT));
		for (unsigned i = 0; i < 2 * RANGES; i++)
			cr_assert_eq(memory[i * page], i % 2 || i == 2 * KEPT ? 'x' : 0, "page %u", i);
	}
}

/* The kernel tries to write there for us. */
static bool writable(void *address)
{
	int zeros = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	bool could = read(zeros, address, 1) == 1;

	close(zeros);
	return could;
}

Test(os, guards_lie_at_both_ends_and_go_too)
{
	size_t page = near__os_page_size, bytes = 3 * page;
	char *memory = near__os_map_guarded(bytes);

	cr_assert_not_null(memory);
	cr_assert(writable(memory) && writable(memory + bytes - 1));
	cr_assert(!writable(memory - 1) && !writable(memory + bytes));
	cr_assert_not(unit_is_unmapped(memory - page, page));
	near__os_discard_guarded(memory, bytes);
	cr_assert(unit_is_unmapped(memory - page, bytes + 2 * page));
	near__os_guard(memory);
	cr_assert_not(unit_is_unmapped(memory, page));
	cr_assert_eq(near__os_unmap(memory, page), 0);
}
