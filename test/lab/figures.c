/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * figures: what the library counts for nodes and pairs of nodes is what was done: so many objects of each node freed on
 * each, and so much memory that lies there.
 */
#include "near.h"

enum { FREED = 20000, STILL_THERE = 600, SAMPLED = 24 };

/* Objects for `home` that are freed on another node: they are counted, but for some that are still in a magazine. */
static void pair_of(int on, int home)
{
	static void *objects[FREED];
	struct near_node_pair before, after;
	uint64_t elsewhere = 0, before_elsewhere = 0, delta;

	pin(cpu_of_node(home) >= 0 ? cpu_of_node(home) : machine.cpu[0]);
	for (int i = 0; i < FREED; i++) {
		objects[i] = near_malloc_on_node(100, home);
		CHECK(objects[i] != NULL);
	}
	pin(cpu_of_node(on));
	CHECK(near_node_pair(on, home, &before, sizeof(before)) == 0);
	for (int i = 0; i < home_count; i++)
		before_elsewhere += homes[i] == home ? 0 : pair_freed(on, homes[i]);
	for (int i = 0; i < FREED; i++)
		free(objects[i]);
	CHECK(near_node_pair(on, home, &after, sizeof(after)) == 0);
	for (int i = 0; i < home_count; i++)
		elsewhere += homes[i] == home ? 0 : pair_freed(on, homes[i]);
	delta = after.freed - before.freed;
	/* At home two full magazines may stay, and half of each is what flushing leaves. */
	EXPECT(delta <= FREED + STILL_THERE && delta + STILL_THERE >= FREED,
	       "%d objects of node %d were freed on node %d: %lu counted", FREED, home, on, delta);
	EXPECT(after.freed_bytes - before.freed_bytes >= delta * 100 &&
		       after.freed_bytes - before.freed_bytes <= delta * 128,
	       "%lu objects of 100 bytes were freed: %lu bytes counted", delta, after.freed_bytes - before.freed_bytes);
	EXPECT(elsewhere == before_elsewhere, "%lu objects counted for other nodes", elsewhere - before_elsewhere);
	EXPECT(after.distance == machine.distance[on][home], "distance from %d to %d: %lu, not %u", on, home,
	       after.distance, machine.distance[on][home]);
}

static void large_pair(int on, int home)
{
	void *blocks[10];
	struct near_node_pair before, after;
	struct near_node_stats some, more, less;

	pin(cpu_of_node(on));
	CHECK(near_node_pair(on, home, &before, sizeof(before)) == 0);
	CHECK(near_node_stats(home, &some, sizeof(some)) == 0);
	for (int i = 0; i < 10; i++)
		CHECK((blocks[i] = near_malloc_on_node(2 * MIB, home)) != NULL);
	CHECK(near_node_stats(home, &more, sizeof(more)) == 0);
	for (int i = 0; i < 10; i++)
		free(blocks[i]);
	CHECK(near_node_pair(on, home, &after, sizeof(after)) == 0);
	CHECK(near_node_stats(home, &less, sizeof(less)) == 0);
	EXPECT(after.freed - before.freed == 10, "10 large blocks of node %d were freed on node %d: %lu counted", home,
	       on, after.freed - before.freed);
	EXPECT(after.freed_bytes - before.freed_bytes == 20 * MIB, "20 MiB were freed: %lu bytes counted",
	       after.freed_bytes - before.freed_bytes);
	EXPECT(more.allocated_large - some.allocated_large == 20 * MIB,
	       "20 MiB were allocated on node %d: %lu bytes counted", home,
	       more.allocated_large - some.allocated_large);
	EXPECT(less.allocated_large == some.allocated_large, "%lu bytes of large blocks too many",
	       less.allocated_large - some.allocated_large);
}

/* Memory for a node that CPUs of another are given is brought there in magazines of its own. */
static void refills(int home)
{
	static void *objects[FREED];
	struct near_node_stats before, after;
	int on = other_home(home);

	if (on == home || cpu_of_node(on) < 0)
		return;
	pin(cpu_of_node(on));
	CHECK(near_node_stats(on, &before, sizeof(before)) == 0);
	for (int i = 0; i < FREED; i++)
		CHECK((objects[i] = near_malloc_on_node(50, home)) != NULL);
	CHECK(near_node_stats(on, &after, sizeof(after)) == 0);
	EXPECT(after.refills_remote > before.refills_remote + FREED / 300,
	       "node %d was given %d objects of node %d in %lu magazines", on, FREED, home,
	       after.refills_remote - before.refills_remote);
	EXPECT(after.refills - before.refills >= after.refills_remote - before.refills_remote,
	       "node %d: more magazines of others than in all", on);
	for (int i = 0; i < FREED; i++)
		free(objects[i]);
}

static void figures(void)
{
	uint64_t mapped = 0;
	struct near_node_stats stats;
	struct near_stats all;

	for (int i = 0; i < home_count; i++) {
		for (int on = 0; on < machine.nodes; on++) {
			if (cpu_of_node(on) < 0 || !is_ordinary(on))
				continue;
			pair_of(on, homes[i]);
			large_pair(on, homes[i]);
		}
	}
	for (int i = 0; i < home_count; i++)
		refills(homes[i]);
	for (int i = 0; i < home_count; i++) {
		CHECK(near_node_stats(homes[i], &stats, sizeof(stats)) == 0);
		mapped += stats.mapped;
		EXPECT(stats.mapped > 0, "nothing is mapped for node %d", homes[i]);
		stats.refills = 0xabcd;
		CHECK(near_node_stats(homes[i], &stats, sizeof(stats.mapped)) == 0);
		EXPECT(stats.refills == 0xabcd, "near_node_stats wrote beyond its size");
	}
	all = stats_now();
	EXPECT(mapped + all.metadata == all.mapped, "mapped by node %lu, in all %lu, of which metadata %lu", mapped,
	       all.mapped, all.metadata);
	EXPECT(all.nodes == (unsigned)home_count, "%u nodes, not %d", all.nodes, home_count);
}

static void samples(void)
{
	size_t counts[LAB_NODES];

	for (int i = 0; i < home_count; i++) {
		void *blocks[SAMPLED];
		size_t pages = 0;

		for (int k = 0; k < SAMPLED; k++) {
			blocks[k] = near_malloc_on_node(k % 2 == 0 ? 100000 : 1200000, homes[i]);
			CHECK(blocks[k] != NULL);
			memset(blocks[k], 1, k % 2 == 0 ? 100000 : 1200000);
		}
		memset(counts, 0xff, sizeof(counts));
		CHECK(near_node_sample(homes[i], 500, counts) == 0);
		for (int node = 0; node < machine.nodes; node++)
			pages += counts[node];
		EXPECT(pages > 100 && pages <= 1200, "a sample of 500 pages of node %d has %zu", homes[i], pages);
		EXPECT(counts[homes[i]] == pages, "a sample of node %d: %zu of %zu pages lie there", homes[i],
		       counts[homes[i]], pages);
		for (int k = 0; k < SAMPLED; k++)
			free(blocks[k]);
	}
}

int main(void)
{
	need_near();
	machine_read();
	find_homes();
	figures();
	samples();
	return lab_status;
}
