/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* The figures as text for people and as the XML that programs expect of glibc. */
#include "base/bits.h"
#include "base/conf.h"
#include "cache/cache.h"
#include "malloc/malloc.h"
#include "os/os.h"
#include "watch/nodes.h"
#include "watch/stats.h"

static const char *mode_name(uint32_t mode)
{
	static const char *const names[] = {"early", "rseq", "locked"};

	return mode < ARRAY_LEN(names) ? names[mode] : "?";
}

static const char *what_follows(void)
{
	if (near__topology.strict)
		return "each node's memory is bound to it, strictly";
	if (near__topology.bound)
		return "each node's memory is bound to it";
	if (near__topology.policy == OS_POLICY_UNKNOWN)
		return "nothing is bound";
	if (near__topology.policy != OS_POLICY_DEFAULT)
		return "set by the user: nothing is bound";
	if (near__conf.numa == CONF_OFF)
		return "numa:off: nothing is bound";
	return near__numa_listed() > 1 ? "one node is left to us: nothing is bound" : "nothing needs to be bound";
}

static void add_nodes(struct text *out)
{
	static const char *const policies[] = {"default",	 "preferred",	       "bind", "interleave", "local",
					       "preferred-many", "weighted-interleave"};
	unsigned policy = near__topology.policy;

	near__text_add(out, "  nodes   %u", near__nodes);
	if (near__numa_listed() != near__nodes)
		near__text_add(out, " of %u with memory", near__numa_listed());
	near__text_add(out, "; memory policy %s; %s\n",
		       policy == OS_POLICY_UNKNOWN    ? "refused by the kernel"
		       : policy < ARRAY_LEN(policies) ? policies[policy]
						      : "of an unknown kind",
		       what_follows());
}

static uint64_t percent_tenths(uint64_t part, uint64_t whole)
{
	return whole ? part * 1000 / whole : 0;
}

static void add_share(struct text *out, const char *name, uint64_t bytes, uint64_t whole)
{
	uint64_t share = percent_tenths(bytes, whole);

	near__text_add(out, "  %-26s %12B  %3lu.%lu %%\n", name, bytes, share / 10, share % 10);
}

static void add_bytes(struct text *out, const struct near_stats *s)
{
	near__text_add(out, "bytes                               size    share of mapped\n");
	add_share(out, "owned by the program", s->allocated, s->mapped);
	add_share(out, "  of these large", s->large, s->mapped);
	add_share(out, "cached by CPUs", s->cached_cpu, s->mapped);
	add_share(out, "cached in depots", s->cached_depot, s->mapped);
	add_share(out, "free in spans", s->free_span, s->mapped);
	add_share(out, "free in chunks", s->free_chunk, s->mapped);
	add_share(out, "freed large, kept", s->cached_extent, s->mapped);
	add_share(out, "metadata", s->metadata, s->mapped);
	add_share(out, "mapped", s->mapped, s->mapped);
	near__text_add(out, "of these\n");
	add_share(out, "beyond what was asked for", s->slack, s->mapped);
	add_share(out, "free, may be resident", s->retained, s->mapped);
	add_share(out, "footprint", s->footprint, s->mapped);
}

/* Calls of the fast path are not counted; what a refill brought must have been handed out by it. */
static void add_rates(struct text *out, const struct near_stats *s)
{
	uint64_t served = s->refilled_objects > s->slow_malloc ? s->refilled_objects - s->slow_malloc : 0;
	uint64_t fast = percent_tenths(served, s->refilled_objects);
	uint64_t depot = percent_tenths(s->refills_depot, s->refills);

	near__text_add(out, "traffic\n");
	near__text_add(out, "  malloc: %lu slow calls; at least %lu.%lu %% of the others were hits\n", s->slow_malloc,
		       fast / 10, fast % 10);
	near__text_add(out, "  refills: %lu, %lu.%lu %% from a depot, %lu objects in all\n", s->refills, depot / 10,
		       depot % 10, s->refilled_objects);
	near__text_add(out, "  free: %lu slow calls; flushed magazines: %lu, %lu of them to another node\n",
		       s->slow_free, s->flushes, s->flushes_remote);
	near__text_add(out, "  drains: %lu; foreign pointers left alone: %lu; given up: %lu\n", s->drains, s->foreign,
		       s->lost);
}

struct text near__report_begin(void)
{
	size_t size = round_up(REPORT_BYTES + near__nodes * REPORT_BYTES_PER_NODE, near__os_page_size);

	return (struct text){.buffer = near__os_map(size, near__os_page_size), .size = size};
}

void near__report_end(struct text *out)
{
	near__os_discard(out->buffer, out->size);
}

void near__report_text(struct text *out)
{
	struct near_stats s;
	unsigned tables = 0;

	near__stats_read(&s);
	for (unsigned cpu = 0; cpu < near__cpus; cpu++)
		tables += near__table[cpu] != NULL;
	near__text_add(out, "nearmalloc %s\n", near_version());
	near__text_add(out, "  mode    %s (%s)\n", mode_name(s.mode), near__init_reason());
	near__text_add(out, "  cpus    %u used of %u possible, %B of cache each at most\n", tables, s.cpus,
		       near__percpu_budget);
	add_nodes(out);
	add_bytes(out, &s);
	add_rates(out, &s);
	if (near__topology.bound)
		near__nodes_text(out);
}

void near__report_xml(struct text *out)
{
	struct near_stats s;
	uint64_t rest;

	near__stats_read(&s);
	rest = s.cached_cpu + s.cached_depot + s.free_span + s.free_chunk + s.cached_extent;
	near__text_add(out, "<malloc version=\"1\">\n");
	for (unsigned node = 0; node < s.nodes; node++)
		near__text_add(out, "<heap nr=\"%u\">\n<sizes>\n</sizes>\n</heap>\n", node);
	near__text_add(out, "<total type=\"fast\" count=\"%lu\" size=\"%lu\"/>\n", s.refills, s.cached_cpu);
	near__text_add(out, "<total type=\"rest\" count=\"%lu\" size=\"%lu\"/>\n", s.flushes, rest - s.cached_cpu);
	near__text_add(out, "<total type=\"mmap\" count=\"%u\" size=\"%lu\"/>\n", s.large != 0, s.large);
	near__text_add(out, "<system type=\"current\" size=\"%lu\"/>\n", s.mapped);
	near__text_add(out, "<system type=\"max\" size=\"%lu\"/>\n", s.mapped);
	near__text_add(out, "<aspace type=\"total\" size=\"%lu\"/>\n", s.mapped);
	near__text_add(out, "<aspace type=\"mprotect\" size=\"%lu\"/>\n", s.mapped);
	near__text_add(out, "<near mode=\"%s\" nodes=\"%u\" allocated=\"%lu\" metadata=\"%lu\"/>\n", mode_name(s.mode),
		       s.nodes, s.allocated, s.metadata);
	if (near__topology.bound)
		near__nodes_xml(out);
	near__text_add(out, "</malloc>\n");
}
