/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * The tables of bins, and the slow sections on them in either mode.
 *
 * Edge: B0 the release that publishes a table in the base arrays pairs with the address dependency in the
 * sections (B1), which read nothing of a table but through that pointer.
 */
#include "base/conf.h"
#include "cache/cache.h"
#include "meta/arena.h"
#include "os/os.h"

enum { WANT_FIRST_BYTES = 4096 };
#define BUDGET_FIRST (1 * MIB)

enum near_mode near__mode;
unsigned near__cpus;
uint64_t near__percpu_budget, near__depot_budget;
struct bin *near__cpu_base[OS_MAX_CPUS + 2] VAST;
struct bin *near__local_base[OS_MAX_CPUS + 2] VAST;
struct cpu_table *near__table[OS_MAX_CPUS] VAST;
uint64_t near__nil_magazine[MAGAZINE_SLOTS] ALIGNED(MAGAZINE_BYTES);

struct cpu_table *near__stub;

/* ---- tables --------------------------------------------------------------------------------------- */

unsigned near__table_bins(void)
{
	return near__nodes * CLASSES + 1;
}

unsigned near__bin_first_capacity(unsigned bin)
{
	size_t bytes = bin ? near__class[bin_class(bin)].bytes : WANT_FIRST_BYTES;

	return (unsigned)size_max(2, size_min(WANT_FIRST_BYTES / bytes, hands_of(bytes) * DEALT_RUN));
}

static struct cpu_table *make_table(unsigned cpu, unsigned node, uintptr_t spare)
{
	unsigned bins = near__table_bins();
	size_t per_bin = sizeof(struct bin) + sizeof(uint32_t) + sizeof(uint8_t);
	struct cpu_table *table = near__arena_alloc(
		sizeof(*table) + near__nodes * sizeof(struct freed) + (CLASSES + 1) * sizeof(struct asked) + bins * per_bin,
		CACHE_LINE, node);

	if (!table)
		return NULL;
	table->cpu = (uint16_t)cpu;
	table->node = (uint16_t)node;
	table->freed = (struct freed *)&table->bins[bins];
	table->asked = (struct asked *)&table->freed[near__nodes];
	table->seen = (uint32_t *)&table->asked[CLASSES + 1];
	table->want = (uint8_t *)&table->seen[bins];
	/* Bin 0 is that of pointers without one: it is the stub in every table, and needs no test in free. */
	for (unsigned b = 0; b < bins; b++) {
		table->bins[b] = (struct bin){NIL_CURSOR, b ? spare : SPARE_STUB};
		table->want[b] = (uint8_t)near__bin_first_capacity(b);
	}
	return table;
}

bool near__cache_start(void)
{
	unsigned bound;

	near__cpus = near__os_possible_cpus();
	/* Until keep/limits.c has derived them. */
	near__percpu_budget = size_min(near__conf.percpu_cache ? near__conf.percpu_cache : BUDGET_FIRST, INT64_MAX / 2);
	near__depot_budget = near__conf.depot_cache ? near__conf.depot_cache : BUDGET_FIRST;
	for (unsigned node = 0; node < near__nodes; node++) {
		near__depot[node] = near__arena_alloc(sizeof(struct depot), CACHE_LINE_PAIR, node);
		if (!near__depot[node])
			return false;
	}
	near__stub = make_table(0, 0, SPARE_STUB);
	if (!near__stub)
		return false;
	bound = near__os_cpu_bound();
	bound = bound > near__cpus ? bound : near__cpus;
	for (unsigned i = 0; i < bound + 2 && i < OS_MAX_CPUS + 2; i++)
		near__cpu_base[i] = near__local_base[i] = near__stub->bins;
	return true;
}

/* local_base of a stub may name any row: all are alike, and row 0 is there. */
void near__table_publish(struct cpu_table *table)
{
	unsigned cpu = table->cpu;

	store_release(&LOCAL_BASE[cpu], &table->bins[table->node * CLASSES]); /* B0 */
	store_release(&CPU_BASE[cpu], table->bins);			      /* B0 */
}

static struct cpu_table *first_table(unsigned cpu)
{
	unsigned node = near__numa_node_of_cpu(cpu);
	struct cpu_table *table = NULL;

	if (node == OS_NODE_UNKNOWN || !lock_try(&near__drain_lock))
		return NULL;
	table = load_acquire(&near__table[cpu]);
	if (!table) {
		table = make_table(cpu, node, SPARE_NONE);
		if (table) {
			store_release(&near__table[cpu], table);
			near__table_publish(table);
		}
	}
	lock_release(&near__drain_lock);
	return table;
}

void near__cache_note_freed(struct cpu_table *table, unsigned node, uint64_t objects, uint64_t bytes)
{
	count_lossy(&table->freed[node].objects, objects);
	count_lossy(&table->freed[node].bytes, bytes);
}

static uint32_t admitted; /* tables that are */

bool near__cache_admit(struct cpu_table *table)
{
	uint8_t no = false;
	uint32_t n = load_relaxed(&admitted);

	if (!near__conf.max_caches || load_relaxed(&table->admitted))
		return true;
	while (n < near__conf.max_caches) {
		if (!cas_relaxed(&admitted, &n, n + 1))
			continue;
		if (!cas_relaxed(&table->admitted, &no, (uint8_t)true))
			fetch_sub_relaxed(&admitted, 1u); /* another thread on this CPU was quicker */
		return true;
	}
	return false;
}

void near__cache_dismiss(struct cpu_table *table)
{
	uint8_t yes = true;

	if (cas_relaxed(&table->admitted, &yes, (uint8_t)false))
		fetch_sub_relaxed(&admitted, 1u);
}

static int current_cpu(void)
{
	int cpu;

	if (near__mode == NEAR_MODE_RSEQ) {
		cpu = rseq_cpu_id();
		return cpu >= 0 || !near__rseq_register_thread() ? cpu : rseq_cpu_id();
	}
	cpu = near__os_cpu();
	if (cpu < 0) /* no getcpu: any assignment is right, and threads spread */
		cpu = (int)((lock_self() >> 12) % near__cpus);
	return cpu;
}

struct cpu_table *near__cache_table(void)
{
	int cpu = current_cpu();

	if (unlikely(cpu < 0 || (unsigned)cpu >= near__cpus))
		return NULL;

	struct cpu_table *table = load_acquire(&near__table[cpu]);

	return likely(table != NULL) ? table : first_table((unsigned)cpu);
}

static struct cpu_table *locked_table(void)
{
	struct cpu_table *table = near__cache_table();

	return table ? table : near__stub;
}

/* ---- the slow sections ---------------------------------------------------------------------------- */

int64_t near__bin_worth(unsigned bin, uintptr_t cursor)
{
	return cursor == NIL_CURSOR ? 0 : (int64_t)magazine_capacity(cursor) * near__class[bin_class(bin)].bytes;
}

void near__charge_settle(const struct charge *charge)
{
	if (charge->bytes)
		fetch_add_relaxed(&charge->table->charged, charge->bytes);
}

/* The thread may have migrated since the last step. */
static void charge_to(struct charge *charge, struct cpu_table *table, int64_t bytes)
{
	if (charge->table != table) {
		near__charge_settle(charge);
		*charge = (struct charge){.table = table};
	}
	charge->bytes += bytes;
}

uintptr_t near__bin_take_spare(unsigned bin, struct charge *charge)
{
	struct cpu_table *table;
	struct bin *bins;
	uintptr_t spare;

	if (near__mode == NEAR_MODE_RSEQ) {
		spare = section_take_spare(CPU_BASE, (uint64_t)bin * BIN_WORDS, &bins);
		table = table_of(bins);
	} else {
		table = locked_table();
		spare = table == near__stub ? SPARE_STUB : near__locked_take_spare(&table->lock, &table->bins[bin]);
	}
	if (spare > SPARE_STUB)
		charge_to(charge, table, -near__bin_worth(bin, spare));
	return spare;
}

bool near__bin_put_spare(unsigned bin, uintptr_t cursor, struct charge *charge)
{
	struct cpu_table *table;
	struct bin *bins;
	int64_t worth = near__bin_worth(bin, cursor); /* before it is out of our hands */
	bool done;

	if (near__mode == NEAR_MODE_RSEQ) {
		done = section_put_spare(CPU_BASE, (uint64_t)bin * BIN_WORDS, cursor, &bins);
		table = table_of(bins);
	} else {
		table = locked_table();
		done = table != near__stub && near__locked_put_spare(&table->lock, &table->bins[bin], cursor);
	}
	if (done)
		charge_to(charge, table, worth);
	return done;
}

static uintptr_t exchange(unsigned bin, uintptr_t cursor, bool when_full, struct charge *charge)
{
	struct cpu_table *table;
	struct bin *bins;
	uint64_t slot = (uint64_t)bin * BIN_WORDS;
	int64_t worth = near__bin_worth(bin, cursor);
	uintptr_t old;

	if (near__mode == NEAR_MODE_RSEQ) {
		old = when_full ? section_exchange_full(CPU_BASE, slot, cursor, &bins)
				: section_exchange_empty(CPU_BASE, slot, cursor, &bins);
		table = table_of(bins);
	} else {
		table = locked_table();
		if (table == near__stub) /* answered without its lock, which nobody would mend in a forked child */
			return 0;
		old = when_full ? near__locked_exchange_full(&table->lock, &table->bins[bin], cursor)
				: near__locked_exchange_empty(&table->lock, &table->bins[bin], cursor);
	}
	if (old)
		charge_to(charge, table, worth - near__bin_worth(bin, old));
	return old;
}

uintptr_t near__bin_exchange_empty(unsigned bin, uintptr_t cursor, struct charge *charge)
{
	return exchange(bin, cursor, false, charge);
}

uintptr_t near__bin_exchange_full(unsigned bin, uintptr_t cursor, struct charge *charge)
{
	return exchange(bin, cursor, true, charge);
}
