/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Preloaded beside the allocator into a workload of bench/. Wherever that looks at its memory, a line is added to the file
 * $ACCOUNTS: what the allocator says of its own, and what the kernel says of the mappings that the allocator's ranges lie in.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <near/malloc.h>

enum { MAPPINGS = 1 << 17, KINDS = NEAR_RANGE_METADATA + 1, TRIES = 100 };

static int (*residence)(struct near_residence *, size_t);
static int (*stats)(struct near_stats *, size_t);
static int (*walk)(int (*)(const struct near_range *, void *), void *);

/* Of /proc/self/smaps, by address. */
static struct mapping {
	uintptr_t start, end;
	size_t rss;
	bool ours;
} mappings[MAPPINGS];
static size_t found;

struct account {
	struct near_residence resident;
	struct near_stats stats;
	size_t ranges[KINDS]; /* bytes that the walk saw */
	size_t unmapped;      /* of these, in no mapping */
};

/* ---- the kernel's side ------------------------------------------------------------------------------ */

static void take_line(const char *line)
{
	uintptr_t start, end;

	if (sscanf(line, "%lx-%lx ", &start, &end) == 2 && found < MAPPINGS)
		mappings[found++] = (struct mapping){.start = start, .end = end};
	else if (!strncmp(line, "Rss:", 4))
		mappings[found - 1].rss = strtoul(line + 4, NULL, 10) << 10;
}

static void read_mappings(void)
{
	static char text[1 << 16];
	size_t length = 0;
	ssize_t n;
	int fd = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/smaps", O_RDONLY | O_CLOEXEC);

	found = 0;
	while ((n = read(fd, text + length, sizeof(text) - 1 - length)) > 0) {
		char *line = text, *end;

		text[length += (size_t)n] = '\0';
		for (; (end = strchr(line, '\n')); line = end + 1) {
			*end = '\0';
			take_line(line);
		}
		length = strlen(line);
		memmove(text, line, length);
	}
	close(fd);
}

/* The first that ends behind the address. */
static struct mapping *mapping_of(uintptr_t address)
{
	size_t low = 0, high = found;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (mappings[middle].end <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return &mappings[low];
}

/* A program's mappings stay apart from the allocator's neighbours: the kernel joins none that differ in this. */
void *mmap(void *start, size_t bytes, int protection, int flags, int fd, off_t offset)
{
	void *memory = (void *)syscall(SYS_mmap, start, bytes, protection, flags, fd, offset);

	if (memory != MAP_FAILED)
		madvise(memory, bytes, MADV_DONTDUMP);
	return memory;
}

static bool sleeps(const char *task)
{
	char path[64], text[256], *state;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%s/stat", task);
	fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	state = strrchr(text, ')');
	return !state || state[2] == 'S'; /* it may have ended */
}

struct entry {
	uint64_t inode, offset;
	unsigned short length;
	unsigned char type;
	char name[];
};

/* No other thread is at work: one that is may have memory in hand, which it counts when it is done. Without malloc. */
static bool alone(void)
{
	static char entries[1 << 15] __attribute__((aligned(8)));
	int fd = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool alone = true;
	long n;

	while ((n = syscall(SYS_getdents64, fd, entries, sizeof(entries))) > 0) {
		for (char *at = entries; at < entries + n; at += ((struct entry *)at)->length) {
			const char *name = ((struct entry *)at)->name;

			if (*name != '.' && atoi(name) != gettid())
				alone &= sleeps(name);
		}
	}
	close(fd);
	return alone;
}

/* ---- the allocator's -------------------------------------------------------------------------------- */

static int note(const struct near_range *range, void *argument)
{
	struct account *account = argument;
	uintptr_t at = (uintptr_t)range->start, end = at + range->bytes;

	account->ranges[range->kind] += range->bytes;
	for (struct mapping *m = mapping_of(at); at < end; at = m++->end) {
		if (m == mappings + found || m->start > at) {
			account->unmapped += end - at;
			break;
		}
		m->ours = true;
	}
	return 0;
}

/* True: nothing changed while it was made, and nobody was about to, so that all of it must agree. */
static bool take_account(struct account *account)
{
	struct near_residence resident;
	struct near_stats after;

	memset(account, 0, sizeof(*account));
	if (!alone())
		return false;
	stats(&account->stats, sizeof(account->stats));
	residence(&account->resident, sizeof(account->resident));
	read_mappings();
	walk(note, account);
	residence(&resident, sizeof(resident));
	stats(&after, sizeof(after));
	return alone() && !memcmp(&resident, &account->resident, sizeof(resident)) &&
	       !memcmp(&after, &account->stats, sizeof(after));
}

static void write_account(int fd, const struct account *account, bool quiet)
{
	const struct near_residence *r = &account->resident;
	const struct near_stats *s = &account->stats;
	const size_t *ranges = account->ranges;
	size_t rss = 0;

	for (size_t i = 0; i < found; i++)
		rss += mappings[i].ours ? mappings[i].rss : 0;
	dprintf(fd,
		"quiet %d unmapped %zu rss %zu objects %lu holes %lu large %lu free %lu kept %lu metadata %lu total "
		"%lu "
		"allocated %lu cached_cpu %lu cached_depot %lu free_span %lu free_chunk %lu cached_extent %lu "
		"own_metadata %lu mapped %lu of_large %lu slack %lu retained %lu footprint %lu "
		"in_objects %zu in_holes %zu in_large %zu in_free %zu in_kept %zu in_metadata %zu\n",
		quiet, account->unmapped, rss, r->objects, r->holes, r->large, r->free, r->kept, r->metadata, r->total,
		s->allocated, s->cached_cpu, s->cached_depot, s->free_span, s->free_chunk, s->cached_extent,
		s->metadata, s->mapped, s->large, s->slack, s->retained, s->footprint, ranges[NEAR_RANGE_OBJECTS],
		ranges[NEAR_RANGE_HOLE], ranges[NEAR_RANGE_LARGE], ranges[NEAR_RANGE_FREE], ranges[NEAR_RANGE_KEPT],
		ranges[NEAR_RANGE_METADATA]);
}

static void account_now(const char *path)
{
	static struct account account;
	bool quiet = false;
	int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);

	for (int tries = 0; !quiet && tries < TRIES; tries++) {
		quiet = take_account(&account);
		if (!quiet)
			usleep(1000);
	}
	write_account(fd, &account, quiet);
	close(fd);
}

/* A workload looks at its memory with the help of this file; at the start, at the end, and when all has been freed. */
int open(const char *path, int flags, ...)
{
	va_list args;
	int mode, error = errno;

	va_start(args, flags);
	mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, int) : 0;
	va_end(args);
	if (!strcmp(path, "/proc/self/smaps_rollup") && getenv("ACCOUNTS") && residence)
		account_now(getenv("ACCOUNTS"));
	errno = error;
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

__attribute__((constructor)) static void find_names(void)
{
	*(void **)&stats = dlsym(RTLD_DEFAULT, "near_stats");
	*(void **)&walk = dlsym(RTLD_DEFAULT, "near_walk");
	*(void **)&residence = dlsym(RTLD_DEFAULT, "near_residence");
}
