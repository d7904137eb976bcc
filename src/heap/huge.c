/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* Huge pages: for chunks by which a large heap grows, while those made before are full and touched. */
#include "heap/huge.h"

#include "base/conf.h"
#include "heap/retain.h"
#include "os/os.h"

enum {
	HUGE_USED = CHUNK_PAGES / 4 * 3,
	HUGE_SHARE = 8,	    /* if of the pages in use in a chunk before not one part in this many is untouched */
	HUGE_BACK = 4,	    /* so many chunks before: that one should be in use by now */
	HUGE_SPLITS = 8192, /* chunks that may have got other pages again: each costs the kernel mappings */
};

/*
 * Bytes in use from which on chunks get huge pages. Where a hypervisor backs memory when it is first touched, a huge page
 * costs a multiple of its small ones at once, which pays in heaps whose use of the TLB shows.
 */
size_t near__huge_least = 4 * GIB;
static uint32_t splits;

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

	if (near__conf.thp != CONF_THP_AUTO || near__heap_in_use(heap) < near__huge_least ||
	    load_relaxed(&splits) >= HUGE_SPLITS)
		return;
	for (unsigned i = 0; i < HUGE_BACK && before->sibling; i++)
		before = pool_record(&near__chunks, before->sibling);
	if (before != chunk && is_dense(before))
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
