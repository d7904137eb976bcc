/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* Address space and memory. */
#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "base/atomic.h"
#include "base/bits.h"
#include "os/kernel.h"
#include "os/os.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif

static void *map(size_t bytes, int protection, int flags)
{
	return kernel_pointer(KERNEL(SYS_mmap, 0, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0));
}

/* ---- what the kernel would not unmap ---------------------------------------------------------------- */

/*
 * Where a mapping would be split and there may be no more of them, munmap fails. The next who unmaps something tries
 * again. A word is the number of the first page and, in the low bits, how many there are.
 */
enum { LEFT_MOST = 16, LEFT_BITS = 28 };

static uint64_t left[LEFT_MOST];

static void leave(uint64_t word)
{
	for (unsigned i = 0; i < LEFT_MOST; i++) {
		uint64_t none = 0;

		if (!load_relaxed(&left[i]) && cas_acq_rel(&left[i], &none, word))
			return;
	}
}

static long unmap(uintptr_t page, uint64_t pages)
{
	return KERNEL(SYS_munmap, page * near__os_page_size, pages * near__os_page_size);
}

/* Whether there is room for what an attempt to map may leave. */
bool near__os_discard_left(void)
{
	unsigned room = 0;

	for (unsigned i = 0; i < LEFT_MOST; i++) {
		uint64_t word = load_relaxed(&left[i]) ? exchange_acq_rel(&left[i], (uint64_t)0) : 0;

		if (word && unmap(word >> LEFT_BITS, word & ((1u << LEFT_BITS) - 1)))
			leave(word);
	}
	for (unsigned i = 0; i < LEFT_MOST; i++)
		room += !load_relaxed(&left[i]);
	return room > 2;
}

void near__os_discard(void *start, size_t bytes)
{
	uint64_t page = (uintptr_t)start / near__os_page_size, pages = bytes / near__os_page_size;

	if (!unmap(page, pages))
		near__os_discard_left();
	else if (!(pages >> LEFT_BITS))
		leave(page << LEFT_BITS | pages);
}

/* ---- mapping ------------------------------------------------------------------------------------------ */

/* Asks plainly first: neighbouring mappings tend to be aligned alike. Else asks for more and cuts. */
static void *map_aligned(size_t bytes, size_t align, int protection, int flags)
{
	char *start = map(bytes, protection, flags);
	size_t wanted;

	if (!start || !((uintptr_t)start & (align - 1)))
		return start;
	near__os_discard(start, bytes);
	if (__builtin_add_overflow(bytes, align - near__os_page_size, &wanted) || !near__os_discard_left())
		return NULL;
	start = map(wanted, protection, flags);
	if (!start)
		return NULL;

	char *aligned = (char *)round_up((uintptr_t)start, align);
	size_t before = (size_t)(aligned - start), after = wanted - before - bytes;

	if (before)
		near__os_discard(start, before);
	if (after)
		near__os_discard(aligned + bytes, after);
	return aligned;
}

void *near__os_reserve(size_t bytes, size_t align)
{
	return map_aligned(bytes, align, PROT_NONE, MAP_NORESERVE);
}

int near__os_commit(void *start, size_t bytes)
{
	return (int)-KERNEL(SYS_mprotect, start, bytes, PROT_READ | PROT_WRITE);
}

void *near__os_map(size_t bytes, size_t align)
{
	return map_aligned(bytes, align, PROT_READ | PROT_WRITE, 0);
}

int near__os_unmap(void *start, size_t bytes)
{
	long error = KERNEL(SYS_munmap, start, bytes);

	if (!error)
		near__os_discard_left();
	return (int)-error;
}

/* One mapping, of which the middle becomes usable: the kernel keeps nothing for its ends but two records. */
void *near__os_map_guarded(size_t bytes)
{
	size_t guard = near__os_page_size;
	char *start = map(bytes + 2 * guard, PROT_NONE, 0);

	if (!start)
		return NULL;
	if (near__os_commit(start + guard, bytes)) {
		near__os_discard(start, bytes + 2 * guard);
		return NULL;
	}
	return start + guard;
}

void near__os_discard_guarded(void *start, size_t bytes)
{
	size_t guard = near__os_page_size;

	near__os_discard((char *)start - guard, bytes + 2 * guard);
}

/* MADV_POPULATE_WRITE is Linux 5.14. */
int near__os_populate(void *start, size_t bytes)
{
	long error = KERNEL(SYS_madvise, start, bytes, MADV_POPULATE_WRITE);

	if (error == -EINVAL) {
		/* A store of what is there: others may be writing. */
		for (char *at = start; at < (char *)start + bytes; at += near__os_page_size) {
			char was = load_relaxed(at);

			cas_relaxed(at, &was, was);
		}
		error = 0;
	}
	return (int)-error;
}

int near__os_purge(void *start, size_t bytes)
{
	return (int)-KERNEL(SYS_madvise, start, bytes, MADV_DONTNEED);
}

/*
 * All by one call, after which the CPUs that run the program's other threads forget the pages: once, and not for each
 * range, which takes several times as long as the call itself and interrupts all of them. How many of the ranges, from the
 * first on, are done. Of oneself by this name since Linux 6.15, with one such interruption since 6.16.
 */
static unsigned purge_together(const struct iovec *range, unsigned n, int advice)
{
	enum { PIDFD_OF_THIS_THREAD = -10000 };
	static enum { UNKNOWN, WORKS, REFUSED } state;
	unsigned done = 0;
	long bytes;

	if (n < 2 || load_relaxed(&state) == REFUSED || near__os_single_threaded())
		return 0;
	bytes = KERNEL(SYS_process_madvise, PIDFD_OF_THIS_THREAD, range, n, advice, 0);
	if (load_relaxed(&state) == UNKNOWN && bytes != -EINVAL && bytes != -ENOMEM) /* those are about the ranges */
		store_relaxed(&state, bytes < 0 ? REFUSED : WORKS);
	for (; done < n && bytes >= (long)range[done].iov_len; done++)
		bytes -= (long)range[done].iov_len;
	return done;
}

uint64_t near__os_purge_ranges(const struct iovec *range, unsigned n, bool lazily)
{
	int advice = lazily ? MADV_FREE : MADV_DONTNEED;
	unsigned together = purge_together(range, n, advice);
	uint64_t done = together ? UINT64_MAX >> (64 - together) : 0;

	for (unsigned i = together; i < n; i++)
		done |= (uint64_t)!KERNEL(SYS_madvise, range[i].iov_base, range[i].iov_len, advice) << i;
	return done;
}

int near__os_huge(void *start, size_t bytes, bool wanted)
{
	return (int)-KERNEL(SYS_madvise, start, bytes, wanted ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

int near__os_residence(void *start, size_t bytes, unsigned char *resident)
{
	return (int)-KERNEL(SYS_mincore, start, bytes, resident);
}

static int remap_result(long result)
{
	return kernel_pointer(result) ? 0 : (int)-result;
}

int near__os_resize(void *start, size_t old_bytes, size_t new_bytes)
{
	return remap_result(KERNEL(SYS_mremap, start, old_bytes, new_bytes, 0, 0));
}

/* Whether the word is there. The kernel looks, for by now nothing may be mapped there, or what another unmaps. */
static bool holds(uint32_t *at, uint32_t word)
{
	uint32_t none;

	return KERNEL(SYS_futex, at, FUTEX_CMP_REQUEUE_PRIVATE, 0, 0, &none, word) >= 0;
}

int near__os_move(void *start, size_t old_bytes, void *target, size_t new_bytes)
{
	uint32_t *mark = target, word = (uint32_t)((uintptr_t)target >> 12) ^ 0x6e656172;
	int error;

	*mark = word;
	error = remap_result(KERNEL(SYS_mremap, start, old_bytes, new_bytes, MREMAP_MAYMOVE | MREMAP_FIXED, target));
	/* The kernel unmaps the target before it knows whether it can move: what is there now may be somebody else's. */
	if (error && holds(mark, word))
		near__os_discard(target, new_bytes);
	return error;
}

void near__os_guard(void *start)
{
	size_t bytes = near__os_page_size;
	void *mapped = kernel_pointer(KERNEL(SYS_mmap, start, bytes, PROT_NONE,
					     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0));

	if (mapped && mapped != start) /* before Linux 4.17 the address is a wish */
		near__os_discard(mapped, bytes);
}

size_t near__os_address_limit(void)
{
	struct rlimit limit;

	if (KERNEL(SYS_prlimit64, 0, RLIMIT_AS, 0, &limit) || limit.rlim_cur == RLIM_INFINITY)
		return SIZE_MAX;
	return limit.rlim_cur;
}

/* Field 47 of /proc/self/stat, counted behind the command's closing parenthesis. 0 when it cannot be read. */
static uintptr_t break_start(void)
{
	char buffer[2048];

	if (near__os_read_file("/proc/self/stat", buffer, sizeof(buffer)) <= 0)
		return 0;

	const char *p = strrchr(buffer, ')');

	for (int field = 2; p && field < 47; field++)
		p = strchr(p + 1, ' ');
	return p ? strtoul(p + 1, NULL, 10) : 0;
}

bool near__os_in_break(uintptr_t address)
{
	uintptr_t end = (uintptr_t)KERNEL(SYS_brk, 0), start = break_start();

	/* Without /proc: a break never reaches further down than this in practice. */
	if (!start)
		start = end > 256 * MIB ? end - 256 * MIB : 0;
	return address >= start && address < end;
}
