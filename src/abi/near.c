/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* The near_* calls of near/malloc.h, and the report at exit. */
#include "near/malloc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/conf.h"
#include "keep/limits.h"
#include "keep/trim.h"
#include "malloc/fast.h"
#include "os/os.h"
#include "watch/check.h"
#include "watch/nodes.h"
#include "watch/stats.h"
#include "watch/walk.h"

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

	return (struct near_sized){.ptr = ptr, .size = ptr ? near_usable_size(ptr) : 0};
}

size_t near_trim(size_t keep)
{
	return near__trim(keep);
}

void near_on_limit(void (*callback)(int limit, size_t footprint, size_t wanted, void *argument), void *argument)
{
	near__limits_callback(callback, argument);
}

bool near_owns(const void *ptr)
{
	return near__lookup(ptr).bytes != 0;
}

/* ---- nodes ----------------------------------------------------------------------------------------- */

/*
 * The kernel's number into ours. Where memory is not kept apart, a node that exists is anybody's. -1: EINVAL. Start-up
 * may not have ended: then there is no node to prefer yet.
 */
static bool node_from(int number, int *node)
{
	bool known;

	*node = near__topology.bound ? near__numa_dense(number) : NODE_OF_CALLER;
	known = near__topology.bound ? *node >= 0 : near__numa_has_memory(number);
	if (*node >= (int)load_acquire(&near__nodes)) /* another thread is just making the heaps */
		*node = NODE_OF_CALLER;
	if (known)
		return true;
	errno = EINVAL;
	return false;
}

int near_max_node(void)
{
	return (int)near__numa_last();
}

void *near_malloc_on_node(size_t size, int number)
{
	int node;

	return node_from(number, &node) ? malloc_on(size, node) : NULL;
}

void *near_calloc_on_node(size_t count, size_t size, int number)
{
	int node;

	return node_from(number, &node) ? near__calloc(count, size, node) : NULL;
}

void *near_aligned_alloc_on_node(size_t align, size_t size, int number)
{
	int node;

	if (!is_power_of_two(align)) {
		errno = EINVAL;
		return NULL;
	}
	return node_from(number, &node) ? near__aligned(align, size, node) : NULL;
}

void *near_realloc_on_node(void *ptr, size_t size, int number)
{
	int node;

	return node_from(number, &node) ? near__realloc(ptr, size, node, "near_realloc_on_node") : NULL;
}

static int fail(int error)
{
	errno = error;
	return -1;
}

int near_node_of(const void *ptr)
{
	int node = near__home_of(ptr);

	if (node < 0)
		return fail(EINVAL);
	return near__topology.bound ? near__topology.kernel_node[node] : fail(ENODATA);
}

static void clear_counts(size_t counts[])
{
	memset(counts, 0, (near__numa_last() + 1) * sizeof(*counts));
}

int near_node_resident(const void *ptr, size_t length, size_t counts[])
{
	int error;

	if (!counts || (uintptr_t)ptr + length < (uintptr_t)ptr)
		return fail(EINVAL);
	clear_counts(counts);
	error = near__node_resident(ptr, length, counts);
	return error ? fail(error) : 0;
}

/* A node of which there are figures: one that memory is kept on, or the one for all. */
static int figures_of(int number)
{
	int node = near__numa_dense(number);

	return node < (int)load_acquire(&near__nodes) ? node : -1;
}

int near_node_sample(int home, size_t pages, size_t counts[])
{
	int node = figures_of(home), error;

	if (!counts || node < 0)
		return fail(EINVAL);
	clear_counts(counts);
	error = near__node_sample((unsigned)node, pages, counts);
	return error ? fail(error) : 0;
}

static int give(void *out, size_t size, const void *all, size_t most)
{
	if (!out || !size)
		return fail(EINVAL);
	memcpy(out, all, size_min(size, most));
	return 0;
}

int near_node_stats(int number, struct near_node_stats *out, size_t size)
{
	struct near_node_stats all;
	int node = figures_of(number);

	if (node < 0)
		return fail(EINVAL);
	near__node_stats((unsigned)node, &all);
	return give(out, size, &all, sizeof(all));
}

int near_node_pair(int on, int home, struct near_node_pair *out, size_t size)
{
	struct near_node_pair all;
	int from = figures_of(on), to = figures_of(home);

	if (from < 0 || to < 0)
		return fail(EINVAL);
	near__node_pair((unsigned)from, (unsigned)to, &all);
	return give(out, size, &all, sizeof(all));
}

/* ---- figures of the process ------------------------------------------------------------------------ */

int near_stats(struct near_stats *out, size_t size)
{
	struct near_stats all;

	near__stats_read(&all);
	return give(out, size, &all, sizeof(all));
}

int near_walk(int (*visit)(const struct near_range *range, void *argument), void *argument)
{
	return near__walk(visit, argument);
}

int near_residence(struct near_residence *out, size_t size)
{
	struct near_residence all;
	int error = near__residence(&all);

	return error ? fail(error) : give(out, size, &all, sizeof(all));
}

int near_check(void)
{
	int error, found = near__check(&error);

	return found < 0 ? fail(error) : found;
}

int near_report(int fd)
{
	struct text report = near__report_begin();
	int error;

	if (!report.buffer)
		return fail(ENOMEM);
	near__report_text(&report);
	error = near__os_write(fd, report.buffer, report.length);
	near__report_end(&report);
	return error ? fail(error) : 0;
}

/* Many programs close stderr on their way out, so a copy is kept: the only descriptor that the library ever keeps. */
static int report_fd = -1;
static uint64_t report_file; /* 0: there was no stderr, and what has its number by now is the program's */

__attribute__((constructor(102))) static void prepare_report(void)
{
	if (!near__conf.stats_print)
		return;
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
