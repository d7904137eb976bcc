/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Huge pages: for chunks by which a large heap grows, while those made before are full and touched. Of a huge page all is
 * resident, touched or not, so that is asked of one that has small pages; after some chunks in a row one has them again.
 */
#include "heap/huge.h"

#include "base/conf.h"
#include "heap/retain.h"
#include "os/os.h"

enum {
	HUGE_USED = CHUNK_PAGES / 4 * 3,
	HUGE_SHARE = 8,	    /* if of the pages in use in a chunk before not one part in this many is untouched */
	HUGE_BACK = 4,	    /* so many chunks before: that one should be in use by now; */
	HUGE_ROW = 12,	    /* or so many at most, if those between have huge pages */
	HUGE_SPLITS = 8192, /* chunks that may have got other pages again: each costs the kernel mappings */
	QUICK_LEAST = 10000, /* nanoseconds: nobody zeroes 2 MiB in less, so it was no huge page; */
	QUICK_MOST = 400000, /* its small pages, one by one, take about as long as this */
	PAUSE_LEAST = 8,     /* chunks that get none after one that was not quick; twice as many after each, */
	PAUSE_MOST = 1024,
};

/* Bytes in use from which on chunks get huge pages: what one is not full of is a small part of that. */
size_t near__huge_least = 64 * MIB;
static uint32_t splits;

/*
 * Where a hypervisor takes back what its guest has free in large blocks, and backs it page by page when it is touched again, a
 * huge page takes 50 times as long as elsewhere, and several times as long as its small ones. So that is measured.
 */
static struct {
	uint32_t next; /* chunks to pause for, the next time; 0: PAUSE_LEAST */
	uint32_t left; /* of this time */
} pause;

void near__heap_note_huge(uint64_t ns)
{
	uint32_t next = (uint32_t)size_max(load_relaxed(&pause.next), PAUSE_LEAST);
	bool quick = ns >= QUICK_LEAST && ns <= QUICK_MOST;

	store_relaxed(&pause.left, quick ? 0 : next);
	store_relaxed(&pause.next, quick ? 0 : (uint32_t)size_min(next * 2, PAUSE_MOST));
}

static bool pauses(void)
{
	uint32_t left = load_relaxed(&pause.left);

	if (left)
		store_relaxed(&pause.left, left - 1);
	return left;
}

static bool is_dense(const struct chunk *chunk)
{
	unsigned in_use = CHUNK_PAGES - load_relaxed(&chunk->free), resident = 0, dirty = 0;

	if (in_use < HUGE_USED)
		return false;
	near__chunk_resident(chunk, &resident, &dirty);
	return resident >= in_use - in_use / HUGE_SHARE;
}

void near__heap_huge(struct chunk_heap *heap, struct chunk *chunk)
{
	const struct chunk *before = chunk;
	unsigned back = 0;

	if (near__conf.thp != CONF_THP_AUTO || near__heap_in_use(heap) < near__huge_least || near__topology.strict ||
	    load_relaxed(&splits) >= HUGE_SPLITS || pauses())
		return;
	for (; before->sibling && (back < HUGE_BACK || (before->huge && back < HUGE_ROW)); back++)
		before = pool_record(&near__chunks, before->sibling);
	if (back && !before->huge && is_dense(before))
		chunk->huge = !near__os_huge((void *)chunk->base, CHUNK_BYTES, true);
}

void near__heap_split_huge(struct chunk *chunk)
{
	if (!chunk->huge || load_relaxed(&splits) >= HUGE_SPLITS)
		return;
	chunk->huge = false;
	fetch_add_relaxed(&splits, 1u);
	near__os_huge((void *)chunk->base, CHUNK_BYTES, false);
}
