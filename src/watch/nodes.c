/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* What the CPUs of one node do with the memory of another, and where memory lies. Walks over records, without locks. */
#include "watch/nodes.h"

#include "cache/cache.h"
#include "os/os.h"

static uint64_t committed_on(unsigned node)
{
	uint32_t chunks = near__pool_end(&near__chunks);
	uint64_t bytes = 0;

	for (uint32_t i = POOL_FIRST; i < chunks; i++) {
		const struct chunk *chunk = near__pool_peek(&near__chunks, i);

		if (chunk && load_acquire(&chunk->in_use) && chunk->node == node)
			bytes += CHUNK_BYTES;
	}
	return bytes;
}

static void add_large(unsigned node, struct near_node_stats *out)
{
	uint32_t spans = near__pool_end(&near__spans);

	for (uint32_t i = POOL_FIRST; i < spans; i++) {
		const struct span *span = near__pool_peek(&near__spans, i);
		uint32_t state = span ? load_acquire(&span->state) : SPAN_UNUSED;

		if (state == SPAN_UNUSED || span->node != node)
			continue;
		if (state == SPAN_RUN || state == SPAN_MAPPED)
			out->allocated_large += span->bytes;
		if (state == SPAN_MAPPED || state == SPAN_EXTENT)
			out->mapped += span->bytes;
	}
}

/* The tables of a node's CPUs, one after the other; NULL when there are no more. */
static const struct cpu_table *next_table(unsigned node, unsigned *cpu)
{
	while (*cpu < near__cpus) {
		const struct cpu_table *table = load_acquire(&near__table[(*cpu)++]);

		if (table && table->node == node)
			return table;
	}
	return NULL;
}

void near__node_stats(unsigned node, struct near_node_stats *out)
{
	const struct cpu_table *table;

	*out = (struct near_node_stats){.mapped = committed_on(node)};
	add_large(node, out);
	for (unsigned cpu = 0; (table = next_table(node, &cpu));) {
		out->refills += load_relaxed(&table->counts.refills);
		out->refills_remote += load_relaxed(&table->counts.refills_remote);
	}
}

void near__node_pair(unsigned on, unsigned home, struct near_node_pair *out)
{
	const struct heap *heap = near__heap[on];
	const struct cpu_table *table;

	*out = (struct near_node_pair){.distance = near__numa_distance(on, home)};
	for (unsigned cpu = 0; (table = next_table(on, &cpu));) {
		out->freed += load_relaxed(&table->freed[home].objects);
		out->freed_bytes += load_relaxed(&table->freed[home].bytes);
	}
	for (unsigned i = 0; i < load_acquire(&heap->sources); i++) {
		if (heap->source[i].node == home) {
			out->fallbacks = load_relaxed(&heap->source[i].blocks);
			out->fallback_bytes = load_relaxed(&heap->source[i].bytes);
		}
	}
}

/* ---- where memory lies ----------------------------------------------------------------------------- */

enum { BATCH = 128 };

/* Pages that are to be asked for, collected so that a system call answers many. */
struct query {
	size_t *counts; /* by kernel node; may be NULL */
	size_t resident, at_home;
	unsigned home;
	int error;
	unsigned n;
	void *pages[BATCH];
};

static void ask(struct query *q)
{
	unsigned n = q->error ? 0 : q->n;
	int node[BATCH];

	q->n = 0;
	if (!n)
		return;
	q->error = near__numa_where(q->pages, n, node);
	for (unsigned i = 0; i < n && !q->error; i++) {
		if (node[i] < 0 || (unsigned)node[i] > near__numa_last())
			continue;
		q->resident++;
		q->at_home += near__topology.kernel_node[q->home] == node[i];
		if (q->counts)
			q->counts[node[i]]++;
	}
}

static void add_page(struct query *q, uintptr_t page)
{
	q->pages[q->n++] = (void *)page;
	if (q->n == BATCH)
		ask(q);
}

int near__node_resident(const void *ptr, size_t length, size_t counts[])
{
	uintptr_t page = round_down((uintptr_t)ptr, near__os_page_size);
	size_t pages = length ? ((uintptr_t)ptr + length - 1 - page) / near__os_page_size + 1 : 0;
	struct query q = {.counts = counts};

	for (; pages && !q.error; pages--, page += near__os_page_size)
		add_page(&q, page);
	ask(&q);
	return q.error;
}

/* Every `step`-th page of a range; *skip pages are passed over first, and what is left of them goes on to the next range. */
static void sample_range(struct query *q, uintptr_t start, size_t bytes, size_t step, size_t *skip)
{
	size_t pages = bytes / near__os_page_size;

	for (; *skip < pages; *skip += step)
		add_page(q, start + *skip * near__os_page_size);
	*skip -= pages;
}

static struct query sample(unsigned home, size_t pages, size_t *counts)
{
	uint32_t chunks = near__pool_end(&near__chunks), spans = near__pool_end(&near__spans);
	struct near_node_stats stats;
	struct query q = {.counts = counts, .home = home};
	size_t step, skip = 0;

	near__node_stats(home, &stats);
	step = size_max(1, stats.mapped / near__os_page_size / size_max(pages, 1));
	for (uint32_t i = POOL_FIRST; i < chunks; i++) {
		const struct chunk *chunk = near__pool_peek(&near__chunks, i);

		if (chunk && load_acquire(&chunk->in_use) && chunk->node == home)
			sample_range(&q, chunk->base, CHUNK_BYTES, step, &skip);
	}
	for (uint32_t i = POOL_FIRST; i < spans; i++) {
		const struct span *span = near__pool_peek(&near__spans, i);

		if (span && load_acquire(&span->state) == SPAN_MAPPED && span->node == home)
			sample_range(&q, span->start, span->bytes, step, &skip);
	}
	ask(&q);
	return q;
}

int near__node_sample(unsigned home, size_t pages, size_t counts[])
{
	return sample(home, pages, counts).error;
}

/* ---- as text --------------------------------------------------------------------------------------- */

enum { SAMPLED = 1024, MATRIX_MOST = 8 };

struct row {
	uint64_t freed, freed_at_home, fallbacks;
	size_t resident, resident_at_home; /* of the sampled pages */
};

/* Of a node: what its CPUs freed and lacked, and where what is homed on it lies. */
static struct row row_of(unsigned node)
{
	struct row row = {0};
	struct query q;

	for (unsigned home = 0; home < near__nodes; home++) {
		struct near_node_pair pair;

		near__node_pair(node, home, &pair);
		row.freed += pair.freed;
		row.freed_at_home += home == node ? pair.freed : 0;
		row.fallbacks += pair.fallbacks;
	}
	q = sample(node, SAMPLED, NULL);
	row.resident = q.resident;
	row.resident_at_home = q.at_home;
	return row;
}

static void add_share(struct text *out, uint64_t part, uint64_t whole)
{
	if (whole)
		near__text_add(out, "  %3lu.%lu %%", part * 100 / whole, part * 1000 / whole % 10);
	else
		near__text_add(out, "        -");
}

static void add_matrix(struct text *out)
{
	near__text_add(out, "freed objects, by node of the CPU (down) and home (across)\n      ");
	for (unsigned home = 0; home < near__nodes; home++)
		near__text_add(out, "%12u", near__topology.kernel_node[home]);
	for (unsigned on = 0; on < near__nodes; on++) {
		near__text_add(out, "\n  %4u", near__topology.kernel_node[on]);
		for (unsigned home = 0; home < near__nodes; home++) {
			struct near_node_pair pair;

			near__node_pair(on, home, &pair);
			near__text_add(out, "%12lu", pair.freed);
		}
	}
	near__text_add(out, "\n");
}

void near__nodes_text(struct text *out)
{
	near__text_add(
		out, "node      mapped     refills  of others   freed here  at home  served by others  lies at home\n");
	for (unsigned node = 0; node < near__nodes; node++) {
		struct near_node_stats stats;
		struct row row = row_of(node);

		near__node_stats(node, &stats);
		near__text_add(out, "%4u%12B%12lu%11lu%13lu", near__topology.kernel_node[node], stats.mapped,
			       stats.refills, stats.refills_remote, row.freed);
		add_share(out, row.freed_at_home, row.freed);
		near__text_add(out, "%16lu     ", row.fallbacks);
		add_share(out, row.resident_at_home, row.resident);
		near__text_add(out, "\n");
	}
	if (near__nodes > 1 && near__nodes <= MATRIX_MOST)
		add_matrix(out);
}

void near__nodes_xml(struct text *out)
{
	for (unsigned node = 0; node < near__nodes; node++) {
		struct near_node_stats stats;
		struct row row = row_of(node);

		near__node_stats(node, &stats);
		near__text_add(out, "<node nr=\"%u\" mapped=\"%lu\" refills=\"%lu\" refills_remote=\"%lu\"",
			       near__topology.kernel_node[node], stats.mapped, stats.refills, stats.refills_remote);
		near__text_add(out, " freed=\"%lu\" freed_home=\"%lu\" fallbacks=\"%lu\" resident=\"%zu\"", row.freed,
			       row.freed_at_home, row.fallbacks, row.resident);
		near__text_add(out, " resident_home=\"%zu\"/>\n", row.resident_at_home);
	}
}
