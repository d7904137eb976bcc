/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* What the control group of the process allows, in either version of the hierarchy. */
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/format.h"
#include "os/os.h"

#define UNLIMITED (1ull << 60) /* version 1 says so by a number near its largest */

enum { PATH_BYTES = 4096 };

/* The number that a file of the group begins with; 0: there is none, or the word "max". */
static uint64_t number_in(const char *root, const char *group, size_t length, const char *name, char *text, size_t size)
{
	static char buffer[PATH_BYTES] VAST; /* stacks may be small, and this is done once */
	struct text path = TEXT_IN(buffer);

	near__text_add(&path, "%s%.*s/%s", root, (int)length, group, name);
	if (near__os_read_file(buffer, text, size) <= 0)
		return 0;
	return strtoull(text, NULL, 10);
}

/* The least on the way up to the root, where limits of parents hold too. */
static uint64_t least_up(const char *root, const char *group, size_t length, const char *name)
{
	uint64_t least = 0;

	for (;;) {
		char text[64];
		uint64_t here = number_in(root, group, length, name, text, sizeof(text));

		if (here && here < UNLIMITED && (!least || here < least))
			least = here;
		if (!length)
			return least;
		while (length && group[--length] != '/')
			;
	}
}

/* The path behind "0::" or behind the ":name:" of a controller of version 1; NULL: none. */
static const char *group_of(const char *groups, const char *tag, size_t *length)
{
	const char *at = strstr(groups, tag);

	if (!at)
		return NULL;
	at += strlen(tag);
	*length = strcspn(at, "\n");
	if (*length == 1) /* "/" alone: the root */
		*length = 0;
	return at;
}

static unsigned cpus_of(const char *root, const char *group, size_t length)
{
	char text[64] = "";
	uint64_t quota = number_in(root, group, length, "cpu.max", text, sizeof(text));
	const char *second = strchr(text, ' ');
	uint64_t each = second ? strtoull(second + 1, NULL, 10) : 0;

	return quota && each ? (unsigned)size_min((quota + each - 1) / each, OS_MAX_CPUS) : 0;
}

static unsigned cpus_of_v1(const char *root, const char *group, size_t length)
{
	char text[64];
	uint64_t quota = number_in(root, group, length, "cpu.cfs_quota_us", text, sizeof(text));
	uint64_t each = number_in(root, group, length, "cpu.cfs_period_us", text, sizeof(text));

	return quota && quota < UNLIMITED && each ? (unsigned)size_min((quota + each - 1) / each, OS_MAX_CPUS) : 0;
}

struct os_cgroup near__os_cgroup(void)
{
	static char groups[PATH_BYTES] VAST;
	struct os_cgroup limits = {0};
	const char *group;
	size_t length;

	if (near__os_read_file("/proc/self/cgroup", groups, sizeof(groups)) <= 0)
		return limits;
	group = group_of(groups, "0::", &length);
	if (group) {
		limits.memory = least_up("/sys/fs/cgroup", group, length, "memory.max");
		limits.cpus = cpus_of("/sys/fs/cgroup", group, length);
	}
	group = limits.memory ? NULL : group_of(groups, ":memory:", &length);
	if (group)
		limits.memory = least_up("/sys/fs/cgroup/memory", group, length, "memory.limit_in_bytes");
	group = limits.cpus ? NULL : group_of(groups, ":cpu,cpuacct:", &length);
	if (!group && !limits.cpus)
		group = group_of(groups, ":cpu:", &length);
	if (group)
		limits.cpus = cpus_of_v1("/sys/fs/cgroup/cpu", group, length);
	return limits;
}
