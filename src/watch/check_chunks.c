/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* Chunks and regions: their pages, their lists, and what a node counts of them. */
#include "watch/check.h"

/* ---- pages ------------------------------------------------------------------------------------------ */

/* The first page of those whose bits are set; NULL: none is. */
static void *first_page(const struct chunk *chunk, const uint64_t *pages)
{
	unsigned page = bits_next_set(pages, 0, CHUNK_PAGES);

	return page < CHUNK_PAGES ? (void *)(chunk->base + (size_t)page * MAP_PAGE) : NULL;
}

/* Against the spans that live there, and what the kernel has. */
static void check_owners(struct check *check, const struct chunk *chunk, uint32_t index)
{
	const struct lent *lent = near__heap[chunk->node]->chunks.lent;
	const uint64_t *owned = check->owned[index];
	uint64_t purged[CHUNK_WORDS], free[CHUNK_WORDS], nobodys[CHUNK_WORDS];

	for (unsigned i = 0; i < LENT_MOST; i++)
		WRONG_IF(lent[i].pages && lent[i].chunk == index, "chunk %u lends %u pages to nobody", index, lent[i].pages);
	for (unsigned w = 0; w < CHUNK_WORDS; w++) {
		purged[w] = chunk->used[w] & ~chunk->dirty[w];
		free[w] = owned[w] & ~chunk->used[w];
		nobodys[w] = check->whole ? chunk->used[w] & ~owned[w] : 0;
	}
	WRONG_IF(first_page(chunk, purged), "page %p of chunk %u is both in use and given back",
		 first_page(chunk, purged), index);
	WRONG_IF(first_page(chunk, free), "page %p of chunk %u is a span's, and free", first_page(chunk, free), index);
	WRONG_IF(first_page(chunk, nobodys), "page %p of chunk %u is in use, and no span's", first_page(chunk, nobodys),
		 index);
}

/* Whether a longest run of so many pages belongs into a bucket: up to 16 pages one each, then four to a doubling. */
static bool fits_bucket(unsigned bucket, unsigned pages)
{
	unsigned quarter, least;

	if (pages <= 16 || bucket < 16)
		return bucket + 1 == pages;
	quarter = 1u << ((bucket - 16) / 4 + 2);
	least = (4 + bucket % 4) * quarter;
	return pages >= least && pages < least + quarter;
}

static void check_runs(struct check *check, const struct chunk *chunk, uint32_t index)
{
	unsigned longest = 0, on_grid = 0, run = 0, grid_run = 0, free = 0, dirty = 0;

	for (unsigned page = 0; page < CHUNK_PAGES; page++) {
		bool used = bit_test(chunk->used, page);

		run = used ? 0 : run + 1;
		grid_run = !used && (grid_run || page % GRID_PAGES == 0) ? grid_run + 1 : 0;
		longest = run > longest ? run : longest;
		on_grid = grid_run > on_grid ? grid_run : on_grid;
		free += !used;
		dirty += !used && bit_test(chunk->dirty, page);
	}
	WRONG_IF(chunk->free != free || chunk->dirty_free != dirty,
		 "chunk %u counts %u free pages, %u of them dirty, and has %u and %u", index, chunk->free,
		 chunk->dirty_free, free, dirty);
	WRONG_IF(chunk->longest != longest || chunk->on_grid != on_grid,
		 "chunk %u: the longest free run is %u pages, %u on the grid; and not %u and %u", index, longest,
		 on_grid, chunk->longest, chunk->on_grid);
	WRONG_IF(longest && !fits_bucket(chunk->bucket, longest), "chunk %u, with %u pages in a row, is in bucket %u",
		 index, longest, chunk->bucket);
	WRONG_IF(!longest != !(check->chunks[index] & MET_LISTED),
		 "chunk %u has %u free pages in a row, and is%s listed", index, longest,
		 check->chunks[index] & MET_LISTED ? "" : " not");
}

static void check_chunk(struct check *check, const struct chunk *chunk, uint32_t index)
{
	struct sums *sums;

	if (!chunk->in_use) {
		WRONG_IF(check->whole && !(check->chunks[index] & MET_FREE), "chunk %u is neither in use nor free",
			 index);
		return;
	}
	WRONG_IF(check->chunks[index] & MET_FREE, "chunk %u (%p) is among the free records", index,
		 (void *)chunk->base);
	if (chunk->node >= near__nodes || chunk->base % CHUNK_BYTES) {
		near__check_found(check, "chunk %u (%p) is of node %u", index, (void *)chunk->base, chunk->node);
		return;
	}
	check_runs(check, chunk, index);
	check_owners(check, chunk, index);
	sums = &check->sums[chunk->node];
	sums->committed += CHUNK_BYTES;
	sums->free_bytes += (size_t)chunk->free * MAP_PAGE;
	sums->dirty_free += (size_t)chunk->dirty_free * MAP_PAGE;
}

static void check_bucket(struct check *check, const struct chunk_heap *heap, unsigned node, unsigned bucket)
{
	uint32_t before = 0;

	WRONG_IF(!heap->first[bucket] != !(heap->nonempty >> bucket & 1),
		 "chunks of node %u: bucket %u is%s marked as empty", node, bucket, heap->first[bucket] ? "" : " not");
	for (uint32_t i = heap->first[bucket]; i;
	     before = i, i = ((struct chunk *)pool_record(&near__chunks, i))->next) {
		const struct chunk *chunk = near__check_record(&near__chunks, i);

		if (!chunk || !chunk->in_use || chunk->node != node || check->chunks[i] & MET_LISTED) {
			near__check_found(check, "chunks of node %u, bucket %u: record %u is none, or listed twice",
					  node, bucket, i);
			break;
		}
		check->chunks[i] |= MET_LISTED;
		WRONG_IF(chunk->bucket != bucket || chunk->prev != before,
			 "chunk %u follows %u in bucket %u, and says %u in bucket %u", i, before, bucket, chunk->prev,
			 chunk->bucket);
	}
}

/* ---- regions ---------------------------------------------------------------------------------------- */

/* Each of its chunks is there and inside, and they are counted. */
static void check_region(struct check *check, const struct region *region, uint32_t index)
{
	uint32_t busy = 0, left = near__pool_end(&near__chunks);
	size_t bytes = 0;

	for (uint32_t i = region->chunks; i && left;
	     left--, i = ((struct chunk *)pool_record(&near__chunks, i))->sibling) {
		const struct chunk *chunk = near__check_record(&near__chunks, i);

		if (!chunk || !chunk->in_use || chunk->region != index || chunk->node != region->node ||
		    chunk->base - region->base >= region->carved) {
			near__check_found(check, "region %u: record %u is no chunk of it", index, i);
			return;
		}
		busy += chunk->free < CHUNK_PAGES;
		bytes += CHUNK_BYTES;
	}
	WRONG_IF(region->carved > region->bytes || region->carved % CHUNK_BYTES,
		 "region %u: %zu of %zu bytes are carved", index, region->carved, region->bytes);
	WRONG_IF(!left || bytes > region->carved || (bytes < region->carved && !region->holes),
		 "region %u: %zu bytes are carved, and it has chunks of %zu", index, region->carved, bytes);
	WRONG_IF(region->busy != busy, "region %u: %u chunks are counted as busy, and %u are", index, region->busy,
		 busy);
	check->sums[region->node].chunk_bytes += bytes;
	check->sums[region->node].uncarved += region->bytes - region->carved;
}

static void check_regions(struct check *check, unsigned node)
{
	for (uint32_t i = near__heap[node]->chunks.regions; i;
	     i = ((struct region *)pool_record(&near__regions, i))->next) {
		const struct region *region = near__check_record(&near__regions, i);

		if (!region || !region->in_use || region->node != node || check->regions[i] & MET_LISTED) {
			near__check_found(check, "regions of node %u: record %u is none, or listed twice", node, i);
			break;
		}
		check->regions[i] |= MET_LISTED;
		check_region(check, region, i);
	}
}

static void check_listed(struct check *check, const struct region *region, uint32_t index)
{
	uint8_t met = check->regions[index];

	WRONG_IF(region->in_use && (met & MET_FREE || !(met & MET_LISTED)), "region %u (%p) is%s free, and%s listed",
		 index, (void *)region->base, met & MET_FREE ? "" : " not", met & MET_LISTED ? "" : " not");
	WRONG_IF(check->whole && !region->in_use && !(met & MET_FREE), "region %u is neither in use nor free", index);
}

/* ---- all -------------------------------------------------------------------------------------------- */

static void check_sums(struct check *check, unsigned node)
{
	const struct chunk_heap *heap = &near__heap[node]->chunks;
	const struct sums *sums = &check->sums[node];

	WRONG_IF(heap->committed != sums->committed || sums->chunk_bytes != sums->committed,
		 "node %u counts %zu bytes of chunks, and has %zu, %zu of them in regions", node, heap->committed,
		 sums->committed, sums->chunk_bytes);
	WRONG_IF(heap->free_bytes != sums->free_bytes || heap->dirty_free != sums->dirty_free,
		 "node %u counts %zu bytes of free pages, %zu of them dirty, and has %zu and %zu", node,
		 heap->free_bytes, heap->dirty_free, sums->free_bytes, sums->dirty_free);
	WRONG_IF(check->whole && heap->reserved != sums->committed + sums->uncarved,
		 "node %u counts %zu bytes of reserved address space, and has %zu", node, heap->reserved,
		 sums->committed + sums->uncarved);
	WRONG_IF(load_relaxed(&heap->lock.word), "the lock of the chunks of node %u is held", node);
}

void near__check_chunks(struct check *check)
{
	for (unsigned node = 0; node < near__nodes; node++) {
		for (unsigned bucket = 0; bucket < CHUNK_BUCKETS; bucket++)
			check_bucket(check, &near__heap[node]->chunks, node, bucket);
	}
	for (uint32_t i = POOL_FIRST; i < near__pool_end(&near__chunks); i++) {
		const struct chunk *chunk = near__pool_peek(&near__chunks, i);

		if (chunk)
			check_chunk(check, chunk, i);
	}
	for (unsigned node = 0; node < near__nodes; node++)
		check_regions(check, node);
	for (uint32_t i = POOL_FIRST; i < near__pool_end(&near__regions); i++) {
		const struct region *region = near__pool_peek(&near__regions, i);

		if (region)
			check_listed(check, region, i);
	}
	for (unsigned node = 0; node < near__nodes; node++)
		check_sums(check, node);
}
