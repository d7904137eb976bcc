/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * guards: after some load no byte can be written just below or just above any memory of the allocator's own: its
 * arenas and leaves of the page map (as near_walk tells them), the tables in the library's file, the page that tells a
 * forked child. And none of it lies within a page of memory that programs are given.
 */
#include <link.h>

#include "near/malloc.h"
#include "shadow.h"
#include "threads.h"

enum { MOST_RANGES = 1 << 16, LARGE = 40, THREADS = 4 };

extern int near_walk(int (*visit)(const struct near_range *range, void *argument), void *argument) WEAK;

struct range {
	uintptr_t start, end;
	bool own;
};

static struct range *ranges;
static size_t count;
static uintptr_t page;
static int zeros;

/* The kernel tries for us, and answers EFAULT. */
static bool writable(uintptr_t address)
{
	ssize_t got = read(zeros, (void *)address, 1);

	CHECK(got == 1 || errno == EFAULT);
	return got == 1;
}

static void expect_guarded(const char *what, uintptr_t start, uintptr_t end)
{
	bool below = writable(start - 1), above = writable(end);

	char line[200];

	if (!below && !above)
		return;
	snprintf(line, sizeof(line), "%s %#lx-%#lx can be reached from %s\n", what, start, end,
		 below ? "below" : "above");
	say(2, line);
	abort();
}

static int note(const struct near_range *range, void *argument)
{
	uintptr_t start = (uintptr_t)range->start;

	(void)argument;
	CHECK(count < MOST_RANGES);
	ranges[count++] = (struct range){start, start + range->bytes, range->kind == NEAR_RANGE_METADATA};
	return 0;
}

static int by_start(const void *a, const void *b)
{
	const struct range *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

static void *work(void *seed)
{
	struct shadow s;

	shadow_open(&s, 20000, 3u << 20, (uint64_t)(uintptr_t)seed + 1);
	shadow_steps(&s, scaled(30000));
	shadow_close(&s);
	return NULL;
}

/* Enough for several arenas, and for leaves of the page map: there is one for each GiB. */
static void load(void)
{
	static void *kept[LARGE];
	pthread_t threads[THREADS];

	for (uintptr_t i = 0; i < THREADS; i++)
		threads[i] = thread_start(work, (void *)i);
	for (int i = 0; i < LARGE; i++) {
		kept[i] = malloc((size_t)200 << 20);
		CHECK(kept[i] != NULL);
	}
	for (int i = 0; i < 200000; i++)
		CHECK(opaque(malloc(1500)) != NULL);
	for (int i = 0; i < THREADS; i++)
		thread_join(threads[i]);
}

/* The writable part of the file that near_version lies in. */
static int find_tables(struct dl_phdr_info *info, size_t size, void *found)
{
	uintptr_t address = (uintptr_t)opaque((void *)near_version);
	bool ours = false;

	(void)size;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *part = &info->dlpi_phdr[i];

		ours |= part->p_type == PT_LOAD && address - info->dlpi_addr - part->p_vaddr < part->p_memsz;
	}
	for (int i = 0; ours && i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *part = &info->dlpi_phdr[i];
		uintptr_t start = info->dlpi_addr + part->p_vaddr;

		if (part->p_type == PT_LOAD && part->p_flags & PF_W)
			*(struct range *)found =
				(struct range){start & -page, (start + part->p_memsz + page - 1) & -page, true};
	}
	return ours;
}

static void check_tables(void)
{
	struct range tables = {0};

	dl_iterate_phdr(find_tables, &tables);
	CHECK(tables.start != 0);
	/* What the loader relocates is read-only by now, and precedes what stays writable. */
	CHECK(!writable(tables.start));
	expect_guarded("the tables", tables.start, tables.end);
}

/* Mappings that are wiped in a forked child ("wf"). */
static void check_fork_mark(void)
{
	FILE *maps = fopen("/proc/self/smaps", "re");
	unsigned long start = 0, end = 0;
	char line[512];
	int found = 0;

	if (maps == NULL)
		skip("no /proc/self/smaps");
	while (fgets(line, sizeof(line), maps) != NULL) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2 || strncmp(line, "VmFlags:", 8) != 0)
			continue;
		if (strstr(line, " wf") != NULL) {
			expect_guarded("the mark for forks", start, end);
			found++;
		}
	}
	fclose(maps);
	CHECK(found == 1);
}

int main(void)
{
	size_t own = 0;

	if (near_walk == NULL)
		skip("not under nearmalloc");
	page = (uintptr_t)sysconf(_SC_PAGESIZE);
	zeros = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	CHECK(zeros >= 0);
	ranges =
		mmap(NULL, MOST_RANGES * sizeof(ranges[0]), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(ranges != MAP_FAILED);
	load();
	CHECK(near_walk(note, NULL) == 0);
	qsort(ranges, count, sizeof(ranges[0]), by_start);
	for (size_t i = 0; i < count; i++) {
		own += ranges[i].own;
		if (ranges[i].own)
			expect_guarded("metadata", ranges[i].start, ranges[i].end);
		if (i > 0 && ranges[i].own != ranges[i - 1].own)
			CHECK(ranges[i].start >= ranges[i - 1].end + page);
	}
	CHECK(own >= 10);
	check_tables();
	check_fork_mark();
	return 0;
}
