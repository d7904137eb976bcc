/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* Adding up the figures, by a walk over the records. */
#include "watch/stats.h"

#include "cache/cache.h"
#include "heap/limit.h"
#include "heap/retain.h"
#include "malloc/malloc.h"
#include "meta/arena.h"

static void add_spans(struct near_stats *s, uint64_t *used_by_class)
{
	uint32_t end = near__pool_end(&near__spans);

	for (uint32_t i = POOL_FIRST; i < end; i++) {
		const struct span *span = near__pool_peek(&near__spans, i);
		uint32_t state = span ? load_acquire(&span->state) : SPAN_UNUSED;

		if (state == SPAN_OBJECTS) {
			size_t used = (size_t)load_relaxed(&span->used) * near__class[span->class].bytes;

			s->allocated += used;
			used_by_class[span->class] += used;
			s->free_span += span->bytes - size_min(used, span->bytes);
		} else if (state == SPAN_RUN || state == SPAN_MAPPED) {
			s->allocated += span->bytes;
			s->large += span->bytes;
			s->mapped += state == SPAN_MAPPED ? span->bytes : 0;
		} else if (state == SPAN_EXTENT) {
			s->cached_extent += span->bytes;
			s->mapped += span->bytes;
		}
	}
}

static void add_chunks(struct near_stats *s)
{
	uint32_t end = near__pool_end(&near__chunks);

	for (uint32_t i = POOL_FIRST; i < end; i++) {
		const struct chunk *chunk = near__pool_peek(&near__chunks, i);

		if (chunk && load_acquire(&chunk->in_use)) {
			s->mapped += CHUNK_BYTES;
			s->free_chunk += (size_t)load_relaxed(&chunk->free) * MAP_PAGE;
		}
	}
}

static uint64_t bytes_in(unsigned bin, uintptr_t cursor)
{
	if (cursor == NIL_CURSOR || cursor <= SPARE_STUB)
		return 0;
	return (uint64_t)near__magazine_count(cursor) * near__class[bin_class(bin)].bytes;
}

static void add_table(struct near_stats *s, const struct cpu_table *table)
{
	const struct cpu_counts *c = &table->counts;

	for (unsigned bin = 1; bin < near__table_bins(); bin++)
		s->cached_cpu += bytes_in(bin, load_relaxed(&table->bins[bin].cursor)) +
				 bytes_in(bin, load_relaxed(&table->bins[bin].spare));
	s->refills += load_relaxed(&c->refills);
	s->refills_depot += load_relaxed(&c->refills_depot);
	s->refilled_objects += load_relaxed(&c->refilled_objects);
	s->flushes += load_relaxed(&c->flushes);
	s->flushes_remote += load_relaxed(&c->flushes_remote);
	s->slow_malloc += load_relaxed(&c->slow_malloc);
	s->slow_free += load_relaxed(&c->slow_free);
}

/* Of `bytes` in objects of a class, what their owners have no use for; if they are like those that slow calls asked for. */
static uint64_t slack_of(unsigned class, uint64_t bytes)
{
	uint64_t calls = 0, asked = 0, size = near__class[class].bytes;

	for (unsigned cpu = 0; cpu < near__cpus; cpu++) {
		const struct cpu_table *table = load_acquire(&near__table[cpu]);

		calls += table ? load_relaxed(&table->asked[class].calls) : 0;
		asked += table ? load_relaxed(&table->asked[class].bytes) : 0;
	}
	return calls && asked < calls * size ? bytes / size * (size - asked / calls) : 0;
}

static void add_retained(struct near_stats *s)
{
	for (unsigned node = 0; node < near__nodes; node++)
		s->retained += near__heap_retained(node);
	s->footprint = near__limit_footprint();
}

void near__stats_read(struct near_stats *out)
{
	uint64_t used_by_class[CLASSES + 1] = {0}, cached, in_objects;

	*out = (struct near_stats){.version = 1, .mode = near__mode, .nodes = near__nodes, .cpus = near__cpus};
	add_spans(out, used_by_class);
	add_chunks(out);
	for (unsigned cpu = 0; cpu < near__cpus; cpu++) {
		const struct cpu_table *table = load_acquire(&near__table[cpu]);

		if (table)
			add_table(out, table);
	}
	for (unsigned node = 0; node < near__nodes; node++)
		out->cached_depot += near__depot[node] ? near__depot_cached(node) : 0;
	cached = out->cached_cpu + out->cached_depot;
	in_objects = out->allocated - out->large;
	for (unsigned class = 1; class <= CLASSES; class++)
		out->slack += slack_of(class, used_by_class[class]);
	/* What is cached is no different. */
	out->slack -= in_objects ? (uint64_t)((double)out->slack * (double)size_min(cached, in_objects) / (double)in_objects) : 0;
	out->allocated -= cached < out->allocated ? cached : out->allocated;
	add_retained(out);
	out->metadata = near__arena_mapped();
	out->mapped += out->metadata;
	out->drains = load_relaxed(&near__drains);
	out->foreign = load_relaxed(&near__foreign_count);
	out->lost = load_relaxed(&near__heap_lost);
}
