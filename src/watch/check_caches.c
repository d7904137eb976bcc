/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* Tables and depots: each magazine is in one place, and each object in it is in no other and in no span. */
#include "base/conf.h"
#include "base/format.h"
#include "watch/check.h"

enum { DESCRIPTION = 80 };
#define DESCRIBED(where) describe((char[DESCRIPTION]){0}, where)

static const char *describe(char *buffer, struct place where)
{
	struct text text = {.buffer = buffer, .size = DESCRIPTION};

	switch (where.kind) {
	case PLACE_LOADED:
	case PLACE_SPARE:
		near__text_add(&text, "%s of CPU %u, node %u, class %u", where.kind == PLACE_LOADED ? "bin" : "spare",
			       where.a, bin_node(where.b), bin_class(where.b));
		break;
	case PLACE_FULL:
		near__text_add(&text, "depot of node %u, class %u", where.a, where.b);
		break;
	case PLACE_FREE:
		near__text_add(&text, "free records");
		break;
	default:
		near__text_add(&text, "%s magazines of node %u", where.kind == PLACE_COLD ? "cold" : "empty", where.a);
	}
	return buffer;
}

/* ---- magazines -------------------------------------------------------------------------------------- */

/* The magazine that a cursor stands in, whatever the cursor is; 0: none. */
static uint32_t magazine_at(uintptr_t cursor)
{
	const struct segment *segment = pool_segment_at(cursor);
	uint32_t end = near__pool_end(&near__magazines), index;

	for (uint32_t number = 1; number <= end >> POOL_INDEX_BITS; number++) {
		if (near__magazines.at[number] != segment)
			continue;
		index = number << POOL_INDEX_BITS | pool_position_at(&near__magazines, cursor);
		return cursor >= (uintptr_t)segment + segment->first && near__check_record(&near__magazines, index)
			       ? index
			       : 0;
	}
	return 0;
}

/* Notes where a magazine is. False: it was met before. */
static bool note_place(struct check *check, uint32_t index, struct place where)
{
	struct place *before = &check->magazines[index];

	if (before->kind != PLACE_NONE) {
		near__check_found(check, "magazine %p is in two places: %s; and %s",
				  pool_record(&near__magazines, index), DESCRIBED(*before), DESCRIBED(where));
		return false;
	}
	*before = where;
	return true;
}

/* What is wrong with an object that lies in a magazine of the bin; NULL: nothing, and it is noted. */
static const char *wrong_with(struct check *check, uintptr_t object, unsigned bin)
{
	uint32_t index = near__pagemap_span(object);
	const struct span *span = near__check_record(&near__spans, index);
	size_t offset = span ? object - span->start : 0, bytes = near__class[bin_class(bin)].bytes;
	unsigned number = (unsigned)(offset / bytes);

	if (!span || span->state != SPAN_OBJECTS || offset >= span->bytes)
		return "is no object";
	if (span->class != bin_class(bin))
		return "is of another class";
	if (span->node != bin_node(bin) && near__conf.remote_free != CONF_REMOTE_ADOPT)
		return "is of another node";
	if (offset % bytes || number >= near__class[span->class].objects)
		return "lies inside an object";
	if (number >= span->fresh)
		return "was never taken from its span";
	if (bit_test(span->free, number))
		return "is free in its span too";
	if (bit_test(check->cached[index], number))
		return "lies in a magazine already";
	near__bits_set(check->cached[index], number, 1);
	return NULL;
}

/* Those from above the zero at the bottom to the cursor. Returns how many. */
static unsigned check_magazine(struct check *check, uintptr_t cursor, unsigned bin, struct place where)
{
	uint32_t index = magazine_at(cursor);
	const uintptr_t *slots = index ? pool_record(&near__magazines, index) : NULL;
	unsigned capacity, bottom, top = cursor % MAGAZINE_BYTES / sizeof(*slots);
	const char *wrong = NULL;

	if (!slots || cursor % sizeof(*slots)) {
		near__check_found(check, "%s: the cursor %p is in no magazine", DESCRIBED(where), (void *)cursor);
		return 0;
	}
	if (!note_place(check, index, where))
		return 0;
	capacity = pool_slot(&near__magazines, index)->capacity;
	bottom = MAGAZINE_CAPACITY - capacity;
	WRONG_IF(!capacity || top < bottom, "%s: the cursor %p stands below the %u slots", DESCRIBED(where),
		 (void *)cursor, capacity);
	WRONG_IF(slots[0] || slots[bottom], "%s: magazine %p has no zero below its objects", DESCRIBED(where),
		 (const void *)slots);
	for (unsigned slot = bottom + 1; slot <= top && !wrong; slot++) {
		wrong = wrong_with(check, slots[slot], bin);
		WRONG_IF(wrong, "%s: %p, in slot %u of magazine %p, %s", DESCRIBED(where), (void *)slots[slot], slot,
			 (const void *)slots, wrong);
	}
	return top > bottom ? top - bottom : 0;
}

/* ---- tables ----------------------------------------------------------------------------------------- */

static int64_t check_bin(struct check *check, const struct cpu_table *table, unsigned bin)
{
	uintptr_t cursor = table->bins[bin].cursor, spare = table->bins[bin].spare;
	struct place where = {PLACE_LOADED, table->cpu, (uint16_t)bin};
	int64_t worth = 0;

	if (cursor != NIL_CURSOR) {
		check_magazine(check, cursor, bin, where);
		worth += magazine_at(cursor) ? near__bin_worth(bin, cursor) : 0;
	}
	if (spare != SPARE_NONE) {
		where.kind = PLACE_SPARE;
		check_magazine(check, spare, bin, where);
		worth += magazine_at(spare) ? near__bin_worth(bin, spare) : 0;
	}
	return worth;
}

static bool is_stub(const struct bin *bin)
{
	return bin->cursor == NIL_CURSOR && bin->spare == SPARE_STUB;
}

static void check_table(struct check *check, const struct cpu_table *table, unsigned cpu)
{
	int64_t charged = 0;

	if (table->cpu != cpu || table->node >= near__nodes) {
		near__check_found(check, "the table of CPU %u says CPU %u, node %u", cpu, table->cpu, table->node);
		return;
	}
	WRONG_IF(load_relaxed(&table->lock.word), "the lock of the table of CPU %u is held", cpu);
	WRONG_IF(!is_stub(&table->bins[0]), "bin 0 of CPU %u was written to", cpu);
	for (unsigned bin = 1; bin < near__table_bins(); bin++)
		charged += check_bin(check, table, bin);
	WRONG_IF(check->whole && table->charged != charged,
		 "the table of CPU %u is charged for %lu bytes, and has magazines for %lu", cpu,
		 (uint64_t)table->charged, (uint64_t)charged);
}

static void check_bases(struct check *check, unsigned cpu)
{
	struct cpu_table *table = near__table[cpu];
	struct bin *bins = table ? table->bins : near__stub->bins;
	struct bin *row = table ? &table->bins[table->node * CLASSES] : bins;

	WRONG_IF(CPU_BASE[cpu] != bins || LOCAL_BASE[cpu] != row,
		 "the sections of CPU %u work on another table than its own", cpu);
}

static void check_stub(struct check *check)
{
	for (unsigned bin = 0; bin < near__table_bins(); bin++)
		WRONG_IF(!is_stub(&near__stub->bins[bin]), "bin %u of the stub was written to", bin);
	for (unsigned slot = 0; slot < MAGAZINE_SLOTS; slot++)
		WRONG_IF(near__nil_magazine[slot], "slot %u of the nil magazine was written to", slot);
}

/* ---- depots ----------------------------------------------------------------------------------------- */

static bool check_full(struct check *check, uint32_t index, struct place where)
{
	const struct slot *slot = pool_slot(&near__magazines, index);
	uintptr_t base = (uintptr_t)pool_record(&near__magazines, index);

	if (check->magazines[index].kind != PLACE_NONE || slot->cursor >= MAGAZINE_BYTES) {
		WRONG_IF(slot->cursor >= MAGAZINE_BYTES, "%s: magazine %p has its cursor beyond it", DESCRIBED(where),
			 (void *)base);
		return note_place(check, index, where);
	}
	WRONG_IF(!check_magazine(check, base + slot->cursor, bin_of(where.a, where.b), where),
		 "%s: magazine %p is empty", DESCRIBED(where), (void *)base);
	return true;
}

static bool check_empty(struct check *check, uint32_t index, struct place where)
{
	const uintptr_t *slots = pool_record(&near__magazines, index);

	WRONG_IF(pool_slot(&near__magazines, index)->cursor || slots[0], "%s: magazine %p is not empty",
		 DESCRIBED(where), (const void *)slots);
	return note_place(check, index, where);
}

static void check_shelf(struct check *check, const struct shelf *shelf, uint32_t held, struct place where)
{
	WRONG_IF(check->whole && (shelf->held != held || shelf->least > held),
		 "%s: %u magazines are counted, at least %u, and there are %u", DESCRIBED(where), shelf->held,
		 shelf->least, held);
}

static uint64_t worth_of(const struct shelf *shelf, unsigned class)
{
	uint64_t slots = 0;
	uint32_t left = shelf->held, index = stack_top(&shelf->stack);

	for (; left && near__check_record(&near__magazines, index); left--) {
		slots += pool_slot(&near__magazines, index)->capacity;
		index = pool_slot(&near__magazines, index)->next;
	}
	return slots * near__class[class].bytes;
}

static void check_depot(struct check *check, unsigned node)
{
	const struct depot *depot = near__depot[node];
	struct place where = {PLACE_FULL, (uint16_t)node, 0};
	uint64_t bytes = 0;

	for (unsigned class = 1; class <= CLASSES; class ++) {
		const struct shelf *shelf = &depot->full[class];

		where.b = (uint16_t) class;
		check_shelf(check, shelf,
			    near__check_stack(check, "a depot", &near__magazines, &shelf->stack, check_full, where),
			    where);
		bytes += worth_of(shelf, class);
	}
	WRONG_IF(check->whole && depot->bytes != bytes, "the depot of node %u counts %lu bytes, and has %lu", node,
		 depot->bytes, bytes);
	where.kind = PLACE_EMPTY;
	check_shelf(
		check, &depot->empty,
		near__check_stack(check, "empty magazines", &near__magazines, &depot->empty.stack, check_empty, where),
		where);
	where.kind = PLACE_COLD;
	near__check_stack(check, "cold magazines", &near__magazines, &depot->cold, check_empty, where);
}

void near__check_caches(struct check *check)
{
	struct place unused = {PLACE_FREE, 0, 0};

	check_stub(check);
	for (unsigned cpu = 0; cpu < near__cpus; cpu++) {
		if (near__table[cpu])
			check_table(check, near__table[cpu], cpu);
		check_bases(check, cpu);
	}
	for (unsigned node = 0; node < near__nodes; node++)
		check_depot(check, node);
	near__check_stack(check, "free magazines", &near__magazines, &near__magazines.free, note_place, unused);
	for (uint32_t i = POOL_FIRST; check->whole && i < near__pool_end(&near__magazines); i++)
		WRONG_IF(near__pool_peek(&near__magazines, i) && check->magazines[i].kind == PLACE_NONE,
			 "magazine %p is nowhere", near__pool_peek(&near__magazines, i));
}
