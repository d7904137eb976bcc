/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* meta/classes: the invariants of the tables, for every class and every size. */
#include "unit.h"

Test(classes, ascend_in_steps_of_16)
{
	for (unsigned c = 1; c <= CLASSES; c++) {
		cr_assert_gt(near__class[c].bytes, near__class[c - 1].bytes);
		cr_assert_eq(near__class[c].bytes % 16, 0);
		cr_assert(c > CLASS_LINEAR || near__class[c].bytes == 16 * c);
	}
	cr_assert_eq(near__class[CLASSES].bytes, CLASS_LARGEST);
}

Test(classes, every_size_has_the_least_class_that_fits)
{
	for (size_t size = 1; size <= CLASS_LARGEST; size++) {
		unsigned class = class_of(size);

		cr_assert(class >= 1 && class <= CLASSES, "%zu", size);
		cr_assert_geq(near__class[class].bytes, size);
		cr_assert_lt(near__class[class - 1].bytes, size);
	}
	cr_assert_eq(class_of(0), 1);
}

Test(classes, table_agrees_with_arithmetic)
{
	for (size_t size = 0; size <= CLASS_TABLE_LARGEST; size++)
		cr_assert_eq(near__class_slot[(size + 15) / 16], class_of(size) * BIN_WORDS, "%zu", size);
}

Test(classes, waste_is_at_most_an_eighth_above_128)
{
	for (size_t size = 129; size <= CLASS_LARGEST; size++) {
		size_t bytes = near__class[class_of(size)].bytes;

		cr_assert_leq((bytes - size) * 8, bytes, "%zu in %zu", size, bytes);
	}
}

Test(classes, powers_of_two_are_classes_and_aligned)
{
	for (size_t bytes = 16; bytes <= CLASS_LARGEST; bytes *= 2) {
		const struct class_info *c = &near__class[class_of(bytes)];

		cr_assert_eq(c->bytes, bytes);
		cr_assert_eq((size_t)c->align * MAP_PAGE % bytes % MAP_PAGE, 0);
		cr_assert(bytes <= MAP_PAGE || (size_t)c->align * MAP_PAGE >= bytes);
	}
}

Test(classes, spans_hold_what_they_say)
{
	for (unsigned i = 1; i <= CLASSES; i++) {
		const struct class_info *c = &near__class[i];
		size_t bytes = (size_t)c->pages * MAP_PAGE, tail = bytes - (size_t)c->objects * c->bytes;

		cr_assert(c->objects >= 1 && c->objects <= SPAN_MOST_OBJECTS, "class %u", i);
		cr_assert_lt(tail, c->bytes, "class %u: room for another object", i);
		cr_assert_leq(tail * 8, bytes, "class %u wastes %zu of %zu", i, tail, bytes);
		cr_assert(is_power_of_two(c->align));
		cr_assert_leq(bytes, CHUNK_BYTES);
		cr_assert(c->bytes <= CLASS_TABLE_LARGEST || c->objects == 1);
		cr_assert(c->bytes <= CLASS_TABLE_LARGEST || c->bytes % MAP_PAGE == 0);
	}
}

/* Exact where an object starts; elsewhere the product shows that none does. */
Test(classes, objects_are_found_by_multiplication)
{
	for (unsigned i = 1; i <= CLASSES; i++) {
		const struct class_info *c = &near__class[i];

		for (uint64_t offset = 0; offset < (uint64_t)c->pages * MAP_PAGE; offset += 8) {
			uint64_t object = offset * c->inverse >> 32;

			cr_assert_eq(object * c->bytes == offset, offset % c->bytes == 0, "class %u offset %zu", i,
				     (size_t)offset);
		}
	}
}

Test(classes, magazines_are_bounded_in_bytes)
{
	for (unsigned i = 1; i <= CLASSES; i++) {
		const struct class_info *c = &near__class[i];

		cr_assert(c->capacity >= 2 && c->capacity <= MAGAZINE_CAPACITY);
		cr_assert(c->capacity == 2 || (size_t)c->capacity * c->bytes <= 64 * KIB);
		cr_assert(i == 1 || c->capacity <= near__class[i - 1].capacity);
	}
}

Test(classes, bins_number_nodes_and_classes)
{
	unsigned bin = 1;

	for (unsigned node = 0; node < OS_MAX_NODES; node++) {
		for (unsigned class = 1; class <= CLASSES; class ++, bin++) {
			cr_assert_eq(bin_of(node, class), bin);
			cr_assert_eq(bin_class(bin), class);
			cr_assert_eq(bin_node(bin), node);
		}
	}
	cr_assert_leq((bin - 1) * BIN_WORDS, UINT16_MAX, "the page map's 16 bits hold every bin of every node");
}
