/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Emptying the tables of other CPUs.
 *
 * In rseq mode: put the stub in the CPU's place, fence the CPU so that no section still works on the old table,
 * empty it, put it back. A thread that runs there meanwhile falls into the slow path and works from depot and
 * heap; nobody spins. Where the fence is refused (a filter installed at run time) the table goes back untouched.
 *
 * Edge: D0 the stores of the stub and the fence pair with D1, the loads of the base pointer inside the sections.
 */
#include "cache/cache.h"
#include "os/os.h"

struct lock near__drain_lock;
uint64_t near__drains;

/* Out of the bin before anything else is done, so that the child of a fork finds each magazine in one place at most. */
static struct bin take_magazines(struct bin *bin)
{
	struct bin taken = *bin;

	store_relaxed(&bin->cursor, NIL_CURSOR);
	store_relaxed(&bin->spare, (uintptr_t)SPARE_NONE);
	return taken;
}

static size_t bytes_in(unsigned bin, uintptr_t cursor)
{
	return (size_t)near__magazine_count(cursor) * near__class[bin_class(bin)].bytes;
}

static void flush(struct cpu_table *table, unsigned bin, uintptr_t cursor)
{
	(void)table;
	near__depot_flush(bin, cursor);
}

static void send_home(struct cpu_table *table, unsigned bin, uintptr_t cursor)
{
	if (magazine_is_empty(cursor))
		near__magazine_give(cursor, bin_node(bin));
	else
		near__cache_retire(table, bin, cursor, near__magazine_count(cursor));
}

typedef void destination(struct cpu_table *table, unsigned bin, uintptr_t cursor);

static size_t move(struct cpu_table *table, unsigned bin, uintptr_t cursor, destination *to)
{
	size_t bytes;

	if (cursor == NIL_CURSOR || cursor <= SPARE_STUB)
		return 0;
	fetch_sub_relaxed(&table->charged, near__bin_worth(bin, cursor));
	bytes = bytes_in(bin, cursor);
	to(table, bin, cursor);
	return bytes;
}

/* Both magazines of a bin. Nothing is done where a signal handler interrupted the table's lock. */
static size_t empty_bin(struct cpu_table *table, unsigned b, destination *to)
{
	bool locked = near__mode == NEAR_MODE_LOCKED;
	struct bin *bin = &table->bins[b], taken;

	if (load_relaxed(&bin->cursor) == NIL_CURSOR && !load_relaxed(&bin->spare))
		return 0;
	if (locked && !lock_acquire(&table->lock))
		return 0;
	taken = take_magazines(bin);
	if (locked)
		lock_release(&table->lock);
	return move(table, b, taken.cursor, to) + move(table, b, taken.spare, to);
}

static size_t empty_table(struct cpu_table *table)
{
	size_t bytes = 0;

	for (unsigned b = 1; b < near__table_bins(); b++)
		bytes += empty_bin(table, b, flush);
	return bytes;
}

/* ---- outgoing bins that nobody uses ---------------------------------------------------------------- */

static uint32_t look(const struct cpu_table *table, unsigned b)
{
	return (uint32_t)(load_relaxed(&table->bins[b].cursor) >> 3);
}

static bool is_outgoing(const struct cpu_table *table, unsigned b)
{
	const struct bin *bin = &table->bins[b];

	/* A thread that migrated in the middle of a slow path may have left a spare there. */
	return bin_node(b) != table->node &&
	       (load_relaxed(&bin->cursor) != NIL_CURSOR || load_relaxed(&bin->spare) > SPARE_STUB);
}

/* Whether there is a bin that looks as it did at the last call. Remembers the others. */
static bool has_idle(struct cpu_table *table)
{
	bool found = false;

	for (unsigned b = 1; b < near__table_bins(); b++)
		found |= is_outgoing(table, b) && look(table, b) == table->seen[b];
	for (unsigned b = 1; b < near__table_bins() && !found; b++)
		table->seen[b] = look(table, b);
	return found;
}

static size_t empty_idle(struct cpu_table *table)
{
	size_t bytes = 0;

	for (unsigned b = 1; b < near__table_bins(); b++) {
		if (is_outgoing(table, b) && look(table, b) == table->seen[b])
			bytes += empty_bin(table, b, send_home);
		else
			table->seen[b] = look(table, b);
	}
	return bytes;
}

/* ---- tables one after the other -------------------------------------------------------------------- */

static size_t with_table(struct cpu_table *table, size_t (*work)(struct cpu_table *))
{
	size_t bytes = 0;

	if (near__mode == NEAR_MODE_LOCKED)
		return work(table);
	store_release(&CPU_BASE[table->cpu], near__stub->bins);	  /* D0 */
	store_release(&LOCAL_BASE[table->cpu], near__stub->bins); /* D0 */
	if (!near__membarrier_fence(table->cpu))
		bytes = work(table);
	near__table_publish(table);
	return bytes;
}

static size_t with_tables(bool (*wanted)(struct cpu_table *), size_t (*work)(struct cpu_table *))
{
	size_t bytes = 0;

	if (near__mode == NEAR_MODE_EARLY || !lock_try(&near__drain_lock))
		return 0;
	for (unsigned cpu = 0; cpu < near__cpus; cpu++) {
		struct cpu_table *table = load_acquire(&near__table[cpu]);

		if (table && (!wanted || wanted(table)))
			bytes += with_table(table, work);
	}
	count_lossy(&near__drains, (uint64_t)!wanted);
	lock_release(&near__drain_lock);
	return bytes;
}

size_t near__drain_all(void)
{
	return with_tables(NULL, empty_table);
}

size_t near__drain_idle(void)
{
	return near__nodes > 1 ? with_tables(has_idle, empty_idle) : 0;
}

void near__cache_after_fork(void)
{
	bool draining = lock_is_survivors(&near__drain_lock), inherited = lock_inherit(&near__drain_lock);

	for (unsigned cpu = 0; cpu < near__cpus; cpu++) {
		struct cpu_table *table = near__table[cpu];

		if (!table)
			continue;
		if (lock_inherit(&table->lock)) /* nothing to mend: each step on a bin ends in one store */
			lock_release(&table->lock);
		if (!draining && near__mode == NEAR_MODE_RSEQ)
			near__table_publish(table);
	}
	if (inherited)
		lock_release(&near__drain_lock);
}

bool near__cache_lock_held(void)
{
	for (unsigned cpu = 0; near__mode == NEAR_MODE_LOCKED && cpu < near__cpus; cpu++) {
		const struct cpu_table *table = load_acquire(&near__table[cpu]);

		if (table && lock_is_mine(&table->lock))
			return true;
	}
	return false;
}
