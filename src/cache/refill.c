/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * The slow halves of malloc and free: exchanging magazines between a bin, the depot and the spans.
 *
 * Each step on a bin is one section that commits or refuses; between the steps every magazine is in our hands
 * alone, so preemption, migration, signals and drains in between are harmless. Bins are named by node and class,
 * never by "the local one": after a migration the right magazine may land in an outgoing bin, never the wrong one
 * in a local bin.
 *
 * After Bonwick and Adams, "Magazines and Vmem" (USENIX 2001).
 */
#include "base/conf.h"
#include "cache/cache.h"
#include "heap/retain.h"
#include "os/os.h"

/* What a taken spare is: at most one of the two is set. */
struct hands {
	uintptr_t full; /* holds at least one object */
	uintptr_t empty;
};

/*
 * Takes the spare if it is of use: full for malloc, empty for free. The look before is only a hint, for by then the
 * spare may be another, but it is worth two sections; reading a magazine that others own does no harm.
 */
static struct hands take_spare(const struct cpu_table *table, unsigned bin, bool want_full, struct charge *charge)
{
	uintptr_t spare = load_relaxed(&table->bins[bin].spare);

	if (spare <= SPARE_STUB || magazine_is_empty(spare) == want_full)
		return (struct hands){0};
	spare = near__bin_take_spare(bin, charge);
	if (spare <= SPARE_STUB)
		return (struct hands){0};
	if (magazine_is_empty(spare))
		return (struct hands){.empty = spare};
	return (struct hands){.full = spare};
}

/* What a magazine may hold whatever the budget says, so that a few large objects cannot starve the small ones. */
enum { FLOOR_BYTES = 4 << 10 };

/*
 * The capacity for the bin's next magazine: it doubles at every miss, up to what the class allows and the CPU's
 * budget has left, of which classes beyond the fast path may use up only the first three quarters. 0: do without.
 */
static unsigned wanted(struct cpu_table *table, unsigned bin)
{
	const struct class_info *class = &near__class[bin_class(bin)];
	int64_t left;
	unsigned want, least;

	want = load_relaxed(&table->want[bin]);
	store_relaxed(&table->want[bin], (uint8_t)size_min(want * 2, class->capacity));
	least = (unsigned)size_min(FLOOR_BYTES / class->bytes, want);
	left = (int64_t)near__cache_budget(near__percpu_budget, table->node, 0);
	if (class->bytes > CLASS_TABLE_LARGEST)
		left -= left / 4;
	left -= load_relaxed(&table->charged);
	if (left < (int64_t)want * class->bytes)
		want = left > 0 ? (unsigned)((uint64_t)left / class->bytes) : 0;
	return (unsigned)size_max(least, size_min(want, class->capacity));
}

/* Without it a magazine of the first, small capacities would be swapped in and out for ever. */
static uintptr_t grown(struct cpu_table *table, unsigned bin, uintptr_t full)
{
	unsigned capacity = magazine_capacity(full), want;

	if (likely(capacity >= load_relaxed(&table->want[bin])))
		return full;
	want = wanted(table, bin);
	return want > capacity ? near__magazine_grow(full, want) : full;
}

/* ---- malloc --------------------------------------------------------------------------------------- */

static void *take_one(unsigned node, unsigned class)
{
	unsigned bin = bin_of(node, class);
	uintptr_t magazine = near__depot_pop(bin);
	void *object;

	if (!magazine)
		return near__span_take(node, class, &object, 1) ? object : NULL;
	object = *(void **)magazine;
	near__depot_push(bin, magazine - 8);
	return object;
}

/* One object of each of four runs, or of two: they move on by so many runs. */
ALWAYS_INLINE void turn4(void **at, unsigned by)
{
	void *held[] = {at[0], *(at - DEALT_RUN), *(at - 2 * DEALT_RUN), *(at - 3 * DEALT_RUN)};

	at[0] = held[by];
	*(at - DEALT_RUN) = held[(1 + by) % 4];
	*(at - 2 * DEALT_RUN) = held[(2 + by) % 4];
	*(at - 3 * DEALT_RUN) = held[(3 + by) % 4];
}

ALWAYS_INLINE void turn2(void **at)
{
	void *held = at[0];

	at[0] = *(at - DEALT_RUN);
	*(at - DEALT_RUN) = held;
}

/* The next runs of objects below top: then those of a run come in turn with those of the others. */
static void deal4(void **top)
{
	for (unsigned i = 0; i < DEALT_RUN; i += 4) {
		turn4(top - i - 1, 1);
		turn4(top - i - 2, 2);
		turn4(top - i - 3, 3);
	}
}

static void deal2(void **top)
{
	for (unsigned i = 1; i < DEALT_RUN; i += 2)
		turn2(top - i);
}

/*
 * Objects that are taken one after the other often go to different threads, which must not write to one line. So those
 * in a line are put a run apart, and no more, or they would spread over more pages.
 */
static void part_neighbours(void **top, unsigned count, unsigned bytes)
{
	unsigned hands = hands_of(bytes);

	for (; hands == 4 && count >= 4 * DEALT_RUN; count -= 4 * DEALT_RUN, top -= 4 * DEALT_RUN)
		deal4(top);
	for (; hands == 2 && count >= 2 * DEALT_RUN; count -= 2 * DEALT_RUN, top -= 2 * DEALT_RUN)
		deal2(top);
}

/*
 * Whether the objects may be for several threads: the class was filled last for another thread than this one, or they are
 * the first of it, which may be for threads about to be made. What a thread uses alone is better off with neighbours:
 * it reads them together, as it made them.
 */
static bool for_several(struct shelf *shelf, bool first)
{
	uint32_t self = lock_self(), last = load_relaxed(&shelf->filler);

	if (last != self)
		store_relaxed(&shelf->filler, self);
	return first || last != self;
}

/* A magazine filled from the spans; uses *empty, and leaves it when there is nothing to be had. */
static uintptr_t fill(unsigned node, unsigned class, unsigned want, uintptr_t *empty)
{
	uintptr_t magazine = *empty;
	unsigned got;

	if (!want)
		return 0;
	if (!magazine)
		magazine = near__magazine_take(node, node);
	if (!magazine)
		return 0;
	*empty = magazine;
	magazine = round_down(magazine, MAGAZINE_BYTES) + MAGAZINE_TOP;
	got = near__span_take(node, class, (void **)magazine, want);
	if (!got)
		return 0;
	near__regret_taken(&near__depot[node]->regret, (size_t)got * near__class[class].bytes, near__depot_budget);
	if (for_several(&near__depot[node]->full[class], want < near__class[class].capacity))
		part_neighbours((void **)magazine, got, near__class[class].bytes);
	near__magazine_prepare(magazine, got); /* writes the sentinel below the objects just stored */
	*empty = 0;
	return magazine;
}

/* Loads `full` if the bin is still empty, else keeps it as the spare or gives it to the depot. */
static void install_full(unsigned bin, uintptr_t full, uintptr_t *empty, struct charge *charge)
{
	uintptr_t old = magazine_is_empty(full) ? 0 : near__bin_exchange_empty(bin, full, charge);

	if (!old) {
		if (!near__bin_put_spare(bin, full, charge))
			near__depot_push(bin, full);
	} else if (old != NIL_CURSOR) {
		if (*empty)
			near__magazine_give(old, bin_node(bin));
		else
			*empty = old;
	}
}

void *near__cache_alloc(struct cpu_table *table, unsigned node, unsigned class)
{
	unsigned bin = bin_of(node, class);
	struct charge charge = {0};
	struct hands hands;
	void *object;

	if (!table || !near__cache_admit(table))
		return take_one(node, class);
	hands = take_spare(table, bin, true, &charge);
	if (!hands.full) {
		hands.full = near__depot_pop(bin);
		count_lossy(&table->counts.refills_depot, (uint64_t)(hands.full != 0));
		if (!hands.full && !hands.empty) /* nothing comes that an empty one would have to go for */
			hands = take_spare(table, bin, false, &charge);
		if (!hands.full)
			hands.full = fill(node, class, wanted(table, bin), &hands.empty);
		if (!hands.full) {
			if (hands.empty)
				near__magazine_give(hands.empty, node);
			near__charge_settle(&charge);
			return take_one(node, class);
		}
		count_lossy(&table->counts.refills, 1ull);
		count_lossy(&table->counts.refills_remote, (uint64_t)(node != table->node));
		count_lossy(&table->counts.refilled_objects, (uint64_t)magazine_capacity(hands.full));
	}
	hands.full = grown(table, bin, hands.full);
	/* Ours is taken before the magazine can be seen by others: this call cannot come away with nothing. */
	object = *(void **)hands.full;
	install_full(bin, hands.full - 8, &hands.empty, &charge);
	if (hands.empty && !near__bin_put_spare(bin, hands.empty, &charge))
		near__magazine_give(hands.empty, node);
	near__charge_settle(&charge);
	return object;
}

/* ---- free ----------------------------------------------------------------------------------------- */

static void give_one(unsigned bin, void *object, const char *call)
{
	uintptr_t magazine;

	if (near__span_give(bin_class(bin), &object, 1, call))
		return;
	/* A signal handler under the span lock. The depot needs none. */
	magazine = near__depot[bin_node(bin)] ? near__magazine_take(bin_node(bin), bin_node(bin)) : 0;
	if (!magazine) {
		fetch_add_relaxed(&near__heap_lost, 1ull);
		return;
	}
	magazine = near__magazine_prepare(magazine, 1) + 8;
	*(void **)magazine = object;
	near__depot_push(bin, magazine);
}

static void note_freed(struct cpu_table *table, unsigned bin, unsigned objects)
{
	near__cache_note_freed(table, bin_node(bin), objects, (uint64_t)objects * near__class[bin_class(bin)].bytes);
}

void near__cache_retire(struct cpu_table *table, unsigned bin, uintptr_t cursor, unsigned objects)
{
	bool local = bin_node(bin) == table->node;

	count_lossy(&table->counts.flushes, 1ull);
	count_lossy(&table->counts.flushes_remote, (uint64_t)!local);
	note_freed(table, bin, objects);
	if (near__conf.remote_free == CONF_REMOTE_ADOPT)
		bin = bin_of(table->node, bin_class(bin));
	near__depot_push(bin, cursor);
}

/* Puts a full magazine that the bin no longer holds where it belongs. */
static void retire_full(struct cpu_table *table, unsigned bin, uintptr_t full, struct charge *charge)
{
	bool local = bin_node(bin) == table->node;

	if (!local || !near__bin_put_spare(bin, full, charge))
		near__cache_retire(table, bin, full, magazine_capacity(full));
}

void near__cache_free(struct cpu_table *table, unsigned bin, void *object, const char *call)
{
	unsigned node = bin_node(bin);
	struct charge charge = {0};
	uintptr_t fresh = 0, old;
	struct hands hands;
	unsigned capacity;

	if (!table || !near__cache_admit(table)) {
		give_one(bin, object, call);
		return;
	}
	if (node != table->node && near__class[bin_class(bin)].bytes > CLASS_TABLE_LARGEST) {
		note_freed(table, bin, 1);
		give_one(bin, object, call);
		return;
	}
	hands = take_spare(table, bin, false, &charge);
	capacity = wanted(table, bin);
	if (hands.empty)
		fresh = hands.empty;
	else if (capacity)
		fresh = near__magazine_take(node, table->node);
	if (!fresh) {
		give_one(bin, object, call);
	} else {
		fresh = near__magazine_prepare(fresh, capacity ? capacity : 1) + 8;
		*(void **)fresh = object;
		old = near__bin_exchange_full(bin, fresh, &charge);
		if (!old) {
			/* Not full any more, or the stub: a magazine with one object is not worth keeping. */
			give_one(bin, object, call);
			near__magazine_give(fresh, node);
		} else if (old != NIL_CURSOR) {
			retire_full(table, bin, old, &charge);
		}
	}
	if (hands.full)
		retire_full(table, bin, hands.full, &charge);
	near__charge_settle(&charge);
}
