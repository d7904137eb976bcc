/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* What is bound to which node, when, and how often. */
#include <errno.h>

#include "bound.h"
#include "keep/trim.h"
#include "malloc/malloc.h"
#include "meta/arena.h"

#if NEAR_WITH_NUMA

Test(binding, a_region_is_bound_once_and_its_chunks_never)
{
	struct region *region;

	start(false);
	for (unsigned node = 0; node < 2; node++) {
		cr_assert_not_null(unit_carve(node));
		region = region_of(node);
		cr_assert_eq(bindings_of(region->base, region->bytes), 1);
		cr_assert(binding_is(bindings_made - 1, region->base, region->bytes, MPOL_PREFERRED,
				     node ? SECOND : FIRST, MPOL_MF_STRICT) ||
			  bindings[bindings_made - 1].start != region->base);
		while (region->carved < region->bytes)
			cr_assert_not_null(unit_carve(node));
		cr_assert_eq(bindings_of(region->base, region->bytes), 1, "chunks need no more");
		cr_assert_not_null(unit_carve(node));
		cr_assert_neq(region_of(node), region);
		cr_assert_eq(bindings_of(region_of(node)->base, region_of(node)->bytes), 1);
	}
	for (unsigned node = 0; node < 2; node++) {
		for (region = region_of(node); region; region = region_or_null(region->next)) {
			unsigned i = 0;

			while (i < bindings_made && bindings[i].start != region->base)
				i++;
			cr_assert(binding_is(i, region->base, region->bytes, MPOL_PREFERRED, node ? SECOND : FIRST,
					     MPOL_MF_STRICT));
		}
	}
}

Test(binding, objects_and_runs_lie_in_bound_regions)
{
	struct region *region;
	void *objects[64];
	unsigned before;

	start(false);
	cr_assert_eq(near__span_take(1, class_of(64), objects + 63, 64), 64);
	region = region_of(1);
	cr_assert(region->base <= (uintptr_t)objects[0] && (uintptr_t)objects[0] < region->base + region->carved);
	before = bindings_made;
	for (unsigned i = 0; i < 40; i++) {
		char *run = large(300 * KIB, 1);

		cr_assert(span_at(run)->state == SPAN_RUN);
	}
	cr_assert_eq(bindings_of(region->base, region->bytes), 1);
	for (unsigned i = before; i < bindings_made; i++)
		cr_assert_eq(bindings[i].node, SECOND);
}

Test(binding, a_mapping_is_bound_before_anybody_has_it)
{
	char *block, *again;
	unsigned before;

	start(false);
	before = bindings_made;
	block = large(3 * MIB, 1);
	cr_assert(binding_is(bindings_made - 1, (uintptr_t)block, 3 * MIB, MPOL_PREFERRED, SECOND,
			     MPOL_MF_STRICT));
	cr_assert_eq(bindings_of((uintptr_t)block, 3 * MIB), 1);
	cr_assert_gt(bindings_made, before);
	block = resize(block, 20 * MIB);
	cr_assert_not_null(block);
	cr_assert(release(block));
	before = bindings_made;
	again = large(20 * MIB, 1);
	cr_assert_eq(again, block);
	cr_assert_eq(bindings_made, before, "what is kept is bound already");
	cr_assert_neq(large(20 * MIB, 0), block);
	cr_assert_eq(bindings[bindings_made - 1].node, FIRST);
	expect_right();
}

Test(binding, metadata_lies_with_its_node)
{
	char *small, *big;
	unsigned before;

	start(false);
	for (unsigned node = 0; node < 2; node++) {
		unsigned number = node ? SECOND : FIRST;

		before = bindings_made;
		big = near__arena_alloc(300 * KIB, CACHE_LINE, node);
		cr_assert(binding_is(before, (uintptr_t)big, 300 * KIB, MPOL_PREFERRED, number,
				     MPOL_MF_STRICT));
		cr_assert_eq(bindings_made, before + 1);
		do { /* until the node needs a new block */
			before = bindings_made;
			small = near__arena_alloc(64, 64, node);
		} while (bindings_made == before);
		cr_assert_eq(bindings_made, before + 1);
		cr_assert_eq(bindings_of((uintptr_t)small, 64), 1);
		cr_assert(bindings[before].node == number && bindings[before].policy == MPOL_PREFERRED &&
			  bindings[before].flags == MPOL_MF_STRICT && bindings[before].bytes == MIB);
	}
	near__nodes = 2;
	big = (char *)near__heap[1];
	cr_assert_eq(bindings_of((uintptr_t)big, sizeof(struct heap)), 1, "the heap itself");
	cr_assert_eq(bindings_of((uintptr_t)near__depot[1], sizeof(struct depot)), 1);
}

static int resident_elsewhere(void *start_of, size_t bytes, int policy, unsigned node, unsigned flags)
{
	record_binding(start_of, bytes, policy, node, flags);
	return flags & MPOL_MF_MOVE ? 0 : EIO;
}

/* As after mlockall(MCL_FUTURE). */
Test(binding, a_mapping_that_is_born_resident_is_moved)
{
	char *block;

	start(false);
	near__numa_mbind = resident_elsewhere;
	block = large(3 * MIB, 1);
	cr_assert(binding_is(bindings_made - 1, (uintptr_t)block, 3 * MIB, MPOL_PREFERRED, SECOND, MPOL_MF_MOVE));
	cr_assert_eq(bindings_of((uintptr_t)block, 3 * MIB), 2);
}

/* Handed out before the constructor could ask for nodes. */
Test(binding, what_is_early_is_moved)
{
	void *object, *mapping, *kept, *run;
	struct region *region;
	unsigned before;

	near__numa_mbind = record_binding;
	cr_assert_eq(near__span_take(0, class_of(64), &object, 1), 1);
	mapping = large(2 * MIB, 0);
	kept = large(4 * MIB, 0);
	run = large(512 * KIB, 0);
	cr_assert(release(kept));
	cr_assert_eq(bindings_made, 0, "nothing is bound where there is one node");
	near__large_bind();
	near__region_bind(0);
	cr_assert_eq(bindings_made, 0);
	start(false);
	region = region_of(0);
	before = bindings_made;
	near__region_bind(0);
	cr_assert_eq(bindings_made, before + 1);
	cr_assert(binding_is(before, region->base, region->bytes, MPOL_PREFERRED, FIRST, MPOL_MF_MOVE));
	cr_assert_eq(bindings_of((uintptr_t)run, 512 * KIB), 1);
	near__region_bind(1);
	cr_assert_eq(bindings_made, before + 1, "the other node has no region yet");
	near__large_bind();
	cr_assert_eq(bindings_of((uintptr_t)mapping, 2 * MIB), 1);
	for (unsigned i = before; i < bindings_made; i++)
		cr_assert(bindings[i].flags == MPOL_MF_MOVE && bindings[i].policy == MPOL_PREFERRED &&
			  bindings[i].node == FIRST);
	cr_assert_not_null(large(900 * KIB, 0));
	cr_assert_eq(bindings_of(region->base, region->bytes), 1, "chunks made later lie in it");
}

Test(binding, all_early_regions_are_moved)
{
	unsigned before;

	for (unsigned chunk = 0; chunk < 100; chunk++)
		cr_assert_not_null(unit_carve(0));
	cr_assert_not_null(region_or_null(region_or_null(region_of(0)->next)->next));
	start(false);
	before = bindings_made;
	near__region_bind(0);
	cr_assert_eq(bindings_made, before + 3);
	for (const struct region *region = region_of(0); region; region = region_or_null(region->next))
		cr_assert_eq(bindings_of(region->base, region->bytes), 1);
}

Test(binding, refused_it_is_not_missed)
{
	static void *objects[1000];
	char *run, *mapping;

	prefer_answer = EPERM;
	start(false);
	for (unsigned i = 0; i < ARRAY_LEN(objects); i++) {
		objects[i] = near__alloc((struct request){.size = 64 + i * 8, .node = i % 2}, &(bool){false});
		cr_assert_not_null(objects[i]);
		cr_assert_eq(near__home_of(objects[i]), (int)(i % 2));
	}
	run = large(500 * KIB, 1);
	mapping = large(5 * MIB, 1);
	cr_assert(run && mapping);
	mapping = resize(mapping, 9 * MIB);
	cr_assert_not_null(mapping);
	mapping[9 * MIB - 1] = 1;
	cr_assert_gt(bindings_made, 2);
	cr_assert(release(run) && release(mapping));
	for (unsigned i = 0; i < ARRAY_LEN(objects); i++)
		near__free_slow(objects[i], "free");
	near__trim(0);
	expect_right();
}

#endif
