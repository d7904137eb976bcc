/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* The tables of size classes. */
#include "meta/classes.h"

enum {
	PAGE = 4096,
	SPAN_LEAST_BYTES = 16 << 10,
	SPAN_USUAL_BYTES = 64 << 10,  /* for spans of many objects */
	SPAN_LEAST_OBJECTS = 4,       /* up to 32 KiB; above, every object is a span of its own */
	MAGAZINE_LEAST = 2,
	MAGAZINE_BYTES_WORTH = 64 << 10, /* what a full magazine may hold of the larger classes */
};

struct class_info near__class[CLASSES + 1];
uint8_t near__class_slot[CLASS_TABLE_LARGEST / 16 + 1];

static size_t class_bytes(unsigned class)
{
	if (class <= CLASS_LINEAR)
		return class * 16;

	unsigned above = class - CLASS_LINEAR - 1, doubling = 7 + above / CLASS_STEPS;

	return ((size_t)1 << doubling) + ((size_t)(above % CLASS_STEPS + 1) << (doubling - 3));
}

/*
 * The pages of a span: among the sizes from `least` to twice that, the first that wastes least at its end. In 32 bits, for
 * every program that starts does these divisions.
 */
static uint32_t span_pages(uint32_t bytes, uint32_t least)
{
	uint32_t best = 0, best_waste = UINT32_MAX;

	for (uint32_t pages = least; pages <= 2 * least; pages++) {
		uint32_t waste = (pages * PAGE % bytes) * 1024 / pages;

		if (waste < best_waste && pages * PAGE / bytes <= SPAN_MOST_OBJECTS) {
			best = pages;
			best_waste = waste;
		}
	}
	return best;
}

static void set_class(struct class_info *c, size_t bytes)
{
	size_t least = size_min(SPAN_USUAL_BYTES, size_max(SPAN_LEAST_BYTES, bytes * SPAN_MOST_OBJECTS));

	least = size_max(least, bytes * (bytes > CLASS_TABLE_LARGEST ? 1 : SPAN_LEAST_OBJECTS));

	size_t pages = bytes / PAGE;

	if (bytes <= CLASS_TABLE_LARGEST)
		pages = span_pages((uint32_t)bytes, (uint32_t)((least + PAGE - 1) / PAGE));

	/* Above 32 KiB eight classes to a doubling are all multiples of a page. */
	c->bytes = (uint32_t)bytes;
	c->inverse = (uint32_t)(((1ull << 32) + bytes - 1) / bytes);
	c->pages = (uint16_t)pages;
	c->objects = (uint16_t)(pages * PAGE / bytes);
	c->align = (uint16_t)(is_power_of_two(bytes) && bytes > PAGE ? bytes / PAGE : 1);
	c->capacity = (uint16_t)size_max(MAGAZINE_LEAST, size_min(MAGAZINE_CAPACITY, MAGAZINE_BYTES_WORTH / bytes));
}

void near__classes_start(void)
{
	unsigned class = 1;

	for (unsigned c = 1; c <= CLASSES; c++)
		set_class(&near__class[c], class_bytes(c));
	for (size_t i = 0; i < ARRAY_LEN(near__class_slot); i++) {
		while (near__class[class].bytes < i * 16)
			class++;
		near__class_slot[i] = (uint8_t)(class * BIN_WORDS);
	}
}
