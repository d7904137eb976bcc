/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Memory goes back to the kernel under the hands of those who want it: workers take and give objects and large blocks,
 * every page of which they mark, while free pages of chunks and spans are purged, and extents and empty chunks unmapped.
 */
#include "base/conf.h"
#include "heap/extent.h"
#include "keep/keep.h"
#include "malloc/malloc.h"
#include "stress.h"

enum { PIECES = 12, EXTENTS = 24 << 20 };

struct piece {
	uint64_t *start;
	size_t bytes;
};

static unsigned long given_back;

static void mark(struct piece piece, uint64_t old, uint64_t new, const char *what)
{
	for (size_t at = 0; at < piece.bytes / 8; at += MAP_PAGE / 8) {
		if (exchange_acq_rel(&piece.start[at], new) != old)
			die(what);
	}
}

/* Of 64 KiB to 3 MiB: runs of chunks, and mappings. */
static struct piece take(uint64_t *random)
{
	size_t bytes = (size_t)64 << (10 + next_random(random) % 5);
	struct piece piece = {.bytes = bytes + next_random(random) % bytes * 2};

	piece.start = near__malloc_slow(piece.bytes);
	if (!piece.start)
		die("no memory");
	mark(piece, 0, crew_self, "a page of a new piece belongs to another");
	return piece;
}

static void give(struct piece piece)
{
	mark(piece, crew_self, 0, "a page in use was given back, or to another");
	near__free_slow(piece.start, "free");
}

static void work_on_pieces(void)
{
	struct piece held[PIECES];
	uint64_t random = crew_self * 104729;
	unsigned n = 0;

	while (!crew_stop) {
		crew_migrate(&random);
		if (n < PIECES && next_random(&random) % 2) {
			held[n++] = take(&random);
		} else if (n) {
			unsigned victim = (unsigned)(next_random(&random) % n);

			give(held[victim]);
			held[victim] = held[--n];
		}
	}
	while (n)
		give(held[--n]);
}

static void work(void)
{
	if (crew_self % 2)
		objects_work();
	else
		work_on_pieces();
}

static void give_back(void)
{
	static uint64_t random;
	uint64_t dice = next_random(&random);
	size_t bytes = 0;

	if (!lock_acquire(&near__purge_lock))
		die("the purge lock is refused");
	if (dice % 4 == 0)
		bytes = near__chunk_purge(0, dice / 64 % 2 ? 0 : 4 * MIB, SIZE_MAX, true);
	else if (dice % 4 == 1)
		bytes = near__span_purge(0, 0);
	else if (dice % 4 == 2)
		bytes = near__extent_trim(0, dice / 64 % EXTENTS, false);
	else
		near__chunk_release(0);
	lock_release(&near__purge_lock);
	given_back += bytes;
	if (dice / 4 % 16 == 0)
		near__drain_all();
	if (dice / 4 % 16 == 1)
		near__depot_trim(0);
}

void run_purges(unsigned seconds)
{
	near__percpu_budget = 256 * KIB;
	near__conf.extent_cache = EXTENTS;
	near__heap_decays = true; /* so that extents stay until they are trimmed */
	crew_run(seconds, work, objects_interrupt, give_back);
	expect_sound();
	near__drain_all();
	near__depot_trim(0);
	expect_all_objects();
	printf("%lu MiB given back\n", given_back >> 20);
}
