/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* The near_* calls of near/malloc.h, and the report at exit. */
#include "near/malloc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/conf.h"
#include "keep/trim.h"
#include "malloc/fast.h"
#include "os/os.h"
#include "watch/stats.h"

const char *near_version(void)
{
	return PACKAGE_VERSION;
}

size_t near_usable_size(const void *ptr)
{
	return near__usable_size(ptr, "near_usable_size");
}

size_t near_good_size(size_t size)
{
	return near__good_size(size);
}

struct near_sized near_malloc_at_least(size_t size)
{
	void *ptr = malloc(size);

	return (struct near_sized){.ptr = ptr, .size = ptr ? near__good_size(size) : 0};
}

size_t near_trim(size_t keep)
{
	return near__trim(keep);
}

bool near_owns(const void *ptr)
{
	return near__lookup(ptr).bytes != 0;
}

int near_stats(struct near_stats *out, size_t size)
{
	struct near_stats all;

	if (!out || !size) {
		errno = EINVAL;
		return -1;
	}
	near__stats_read(&all);
	memcpy(out, &all, size_min(size, sizeof(all)));
	return 0;
}

int near_report(int fd)
{
	char buffer[REPORT_BYTES];
	struct text report = TEXT_IN(buffer);
	int error;

	near__report_text(&report);
	error = near__os_write(fd, buffer, report.length);
	if (error) {
		errno = error;
		return -1;
	}
	return 0;
}

/* Many programs close stderr on their way out, so a copy is kept: the only descriptor that the library ever keeps. */
static int report_fd = -1;
static uint64_t report_file; /* 0: there was no stderr, and what has its number by now is the program's */

__attribute__((constructor(102))) static void prepare_report(void)
{
	if (near__conf.stats_print)
		report_fd = near__os_duplicate(2);
	report_file = near__os_identity(report_fd);
}

__attribute__((destructor)) static void report_at_exit(void)
{
	if (!near__conf.stats_print || !report_file)
		return;
	/* A program that closes all descriptors may have opened something of its own in the copy's place. */
	near_report(near__os_identity(report_fd) == report_file ? report_fd : 2);
}
