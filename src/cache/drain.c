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

/* Into the spans of its node. What lay idle on another one counts as freed there. */
static size_t flush(struct cpu_table *table, unsigned bin, uintptr_t cursor, bool idle)
{
	size_t bytes;

	if (cursor == NIL_CURSOR || cursor <= SPARE_STUB)
		return 0;
	fetch_sub_relaxed(&table->charged, near__bin_worth(bin, cursor));
	bytes = bytes_in(bin, cursor);
	if (idle && bytes && bin_node(bin) != table->node) {
		count_lossy(&table->counts.flushes, 1ull);
		count_lossy(&table->counts.flushes_remote, 1ull);
		near__cache_note_freed(table, bin_node(bin), near__magazine_count(cursor), bytes);
	}
	near__depot_flush(bin, cursor);
	return bytes;
}

/* Both magazines of a bin. Nothing is done where a signal handler interrupted the table's lock. */
static size_t empty_bin(struct cpu_table *table, unsigned b, bool idle)
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
	store_relaxed(&table->want[b], (uint8_t)near__bin_first_capacity(b));
	return flush(table, b, taken.cursor, idle) + flush(table, b, taken.spare, idle);
}

static size_t empty_table(struct cpu_table *table, unsigned age)
{
	size_t bytes = 0;

	(void)age;
	for (unsigned b = 1; b < near__table_bins(); b++)
		bytes += empty_bin(table, b, false);
	return bytes;
}

/* ---- bins that nobody uses ------------------------------------------------------------------------- */

enum { AGE_BITS = 4, AGE_MOST = (1 << AGE_BITS) - 1 };

/* A bin in a word: most of its two cursors. The same word twice means that it was not used, or came back to where it was. */
static uint32_t look(const struct cpu_table *table, unsigned b)
{
	const struct bin *bin = &table->bins[b];

	return (uint32_t)((load_relaxed(&bin->cursor) >> 3) ^ (load_relaxed(&bin->spare) << 7)) << AGE_BITS;
}

static bool is_occupied(const struct cpu_table *table, unsigned b)
{
	const struct bin *bin = &table->bins[b];

	return load_relaxed(&bin->cursor) != NIL_CURSOR || load_relaxed(&bin->spare) > SPARE_STUB;
}

static bool is_idle(const struct cpu_table *table, unsigned b, unsigned age)
{
	uint32_t seen = table->seen[b];

	return is_occupied(table, b) && (seen & AGE_MOST) >= age && (seen & ~(uint32_t)AGE_MOST) == look(table, b);
}

/* Whether there is a bin that looks as it did `age` looks ago. */
static bool has_idle(struct cpu_table *table, unsigned age, bool *left)
{
	bool found = false, occupied = false;

	for (unsigned b = 1; b < near__table_bins(); b++) {
		uint32_t now = look(table, b), seen = table->seen[b], looks = 0;

		if (!is_occupied(table, b))
			continue;
		if ((seen & ~(uint32_t)AGE_MOST) == now)
			looks = (seen & AGE_MOST) < AGE_MOST ? (seen & AGE_MOST) + 1 : AGE_MOST;
		table->seen[b] = now | looks;
		found |= looks >= age;
		occupied = true;
	}
	*left |= occupied;
	if (!occupied)
		near__cache_dismiss(table);
	return found;
}

/* The bins are asked again, now that nobody else can use them. */
static size_t empty_idle(struct cpu_table *table, unsigned age)
{
	size_t bytes = 0;

	for (unsigned b = 1; b < near__table_bins(); b++) {
		if (is_idle(table, b, age))
			bytes += empty_bin(table, b, true);
	}
	return bytes;
}

/* ---- tables one after the other -------------------------------------------------------------------- */

static size_t with_table(struct cpu_table *table, size_t (*work)(struct cpu_table *, unsigned), unsigned age)
{
	size_t bytes = 0;

	if (near__mode == NEAR_MODE_LOCKED)
		return work(table, age);
	store_release(&CPU_BASE[table->cpu], near__stub->bins);	  /* D0 */
	store_release(&LOCAL_BASE[table->cpu], near__stub->bins); /* D0 */
	if (!near__membarrier_fence(table->cpu))
		bytes = work(table, age);
	near__table_publish(table);
	return bytes;
}

size_t near__drain_all(void)
{
	size_t bytes = 0;

	if (near__mode == NEAR_MODE_EARLY || !lock_acquire(&near__drain_lock))
		return 0;
	for (unsigned cpu = 0; cpu < near__cpus; cpu++) {
		struct cpu_table *table = load_acquire(&near__table[cpu]);

		if (table)
			bytes += with_table(table, empty_table, 0);
	}
	count_lossy(&near__drains, 1ull);
	lock_release(&near__drain_lock);
	return bytes;
}

size_t near__drain_idle(unsigned age, bool *left)
{
	size_t bytes = 0;

	if (near__mode == NEAR_MODE_EARLY)
		return 0;
	for (unsigned cpu = 0; cpu < near__cpus; cpu++) {
		struct cpu_table *table = load_acquire(&near__table[cpu]);

		if (!table)
			continue;
		if (!lock_try(&near__drain_lock)) {
			*left = true;
			return bytes;
		}
		if (has_idle(table, age, left))
			bytes += with_table(table, empty_idle, age);
		lock_release(&near__drain_lock);
	}
	return bytes;
}

/* Of the two words one may be older than the other: pages are copied one by one while other threads write. */
static bool is_published(const struct cpu_table *table)
{
	return load_relaxed(&CPU_BASE[table->cpu]) == table->bins &&
	       load_relaxed(&LOCAL_BASE[table->cpu]) == &table->bins[table->node * CLASSES];
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
		if (!draining && !is_published(table)) /* not for nothing: each is a page to be copied */
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
