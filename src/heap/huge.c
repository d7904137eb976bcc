/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Huge pages: for chunks by which a large heap grows, while those made before are full and touched. Of a huge page all is
 * resident, touched or not, so that is asked of one that has small pages; after some chunks in a row one has them again.
 */
#include "heap/huge.h"

#include "base/conf.h"
#include "heap/limit.h"
#include "heap/retain.h"
#include "os/os.h"

enum {
	HUGE_USED = CHUNK_PAGES / 4 * 3,
	HUGE_SHARE = 8,	    /* if of the pages in use in a chunk before not one part in this many is untouched */
	HUGE_BACK = 4,	    /* so many chunks before: that one should be in use by now; */
	HUGE_ROW = 12,	    /* or so many at most, if those between have huge pages */
	HUGE_SPLITS = 8192, /* chunks that may be split: each costs the kernel mappings */
	QUICK_LEAST = 10000, /* nanoseconds: nobody zeroes 2 MiB in less, so it was no huge page; */
	QUICK_MOST = 400000, /* its small pages, one by one, take about as long as this */
	PAUSE_LEAST = 32,    /* chunks that get none after one that was not quick; twice as many after each, */
	PAUSE_MOST = 1024,
	PAUSE_SPARSE = 8, /* until it is asked again whether chunks are touched: that is a system call */
};

/* Bytes in use from which on chunks get huge pages: what one is not full of is a small part of that. */
size_t near__huge_least = 256 * MIB;
static uint32_t splits;

/*
 * Where a hypervisor takes back what its guest has free in large blocks, and backs it page by page when it is touched again, a
 * huge page takes 50 times as long as elsewhere, and several times as long as its small ones. So that is measured.
 */
static struct {
	uint32_t next; /* chunks to pause for, the next time; 0: PAUSE_LEAST */
	uint32_t left; /* of this time */
} pause;

bool near__huge_note(uint64_t ns)
{
	uint32_t next = (uint32_t)size_max(load_relaxed(&pause.next), PAUSE_LEAST);
	bool quick = ns >= QUICK_LEAST && ns <= QUICK_MOST;

	store_relaxed(&pause.left, quick ? 0 : next);
	store_relaxed(&pause.next, quick ? 0 : (uint32_t)size_min(next * 2, PAUSE_MOST));
	return ns >= QUICK_LEAST;
}

static bool pauses(void)
{
	uint32_t left = load_relaxed(&pause.left);

	if (left)
		store_relaxed(&pause.left, left - 1);
	return left;
}

/* Without decay the rest of a chunk would go back as soon as it was touched. */
static bool may_be_huge(void)
{
	return near__conf.thp == CONF_THP_AUTO && !near__topology.strict && near__conf.decay_ms &&
	       load_relaxed(&splits) < HUGE_SPLITS && near__limit_leaves(CHUNK_BYTES);
}

static bool is_dense(const struct chunk *chunk)
{
	unsigned in_use = CHUNK_PAGES - load_relaxed(&chunk->free), resident = 0, dirty = 0;

	if (in_use < HUGE_USED)
		return false;
	near__chunk_resident(chunk, &resident, &dirty);
	return resident >= in_use - in_use / HUGE_SHARE;
}

void near__huge_wish(struct chunk_heap *heap, struct chunk *chunk)
{
	const struct chunk *before = chunk;
	unsigned back = 0;

	if (near__heap_in_use(heap) < near__huge_least || !may_be_huge() || pauses())
		return;
	for (; before->sibling && (back < HUGE_BACK || (chunk_is_huge(before) && back < HUGE_ROW)); back++)
		before = pool_record(&near__chunks, before->sibling);
	if (!back || chunk_is_huge(before))
		return;
	if (!is_dense(before)) {
		store_relaxed(&pause.left, (uint32_t)PAUSE_SPARSE);
	} else if (!near__os_huge((void *)chunk->base, CHUNK_BYTES, true)) {
		store_relaxed(&chunk->huge, (uint8_t)CHUNK_HUGE);
		chunk->fresh = true;
	}
}

bool near__huge_begin(struct chunk_heap *heap, struct chunk *chunk)
{
	if (likely(!chunk_is_huge(chunk)) || chunk->free < CHUNK_PAGES || chunk->dirty_free)
		return false;
	if (!chunk->fresh && (load_relaxed(&pause.left) || !may_be_huge())) {
		near__huge_split(chunk);
		return false;
	}
	store_relaxed(&chunk->touching, (uint8_t)true);
	near__bits_set(chunk->dirty, 0, CHUNK_PAGES);
	store_relaxed(&chunk->dirty_free, (uint16_t)CHUNK_PAGES);
	store_relaxed(&heap->dirty_free, heap->dirty_free + CHUNK_BYTES);
	near__heap_note_grown(chunk->node, CHUNK_BYTES);
	near__regret_taken(&heap->regret, near__heap_resident(chunk->node, CHUNK_BYTES), near__conf.retain_max);
	return true;
}

/* What was there before may still be backed by the host: only a new chunk's time tells. */
void near__huge_touch(struct chunk *chunk, char *at)
{
	bool fresh = chunk->fresh;
	uint64_t from = near__os_nanoseconds();

	store_relaxed(at, (char)0);
	chunk->fresh = false;
	if (fresh && !near__huge_note(near__os_nanoseconds() - from))
		near__huge_split(chunk);
	store_release(&chunk->touching, (uint8_t)false); /* H0 */
}

void near__huge_split(struct chunk *chunk)
{
	if (!chunk_is_huge(chunk) || load_relaxed(&splits) >= HUGE_SPLITS)
		return;
	store_relaxed(&chunk->huge, (uint8_t)CHUNK_SPLIT);
	fetch_add_relaxed(&splits, 1u);
	near__os_huge((void *)chunk->base, CHUNK_BYTES, false);
}

void near__huge_forget(const struct chunk *chunk)
{
	if (load_relaxed(&chunk->huge) == CHUNK_SPLIT)
		fetch_sub_relaxed(&splits, 1u);
}
