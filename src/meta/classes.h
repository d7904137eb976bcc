/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Size classes: 16-byte steps to 128 bytes, then eight to each doubling up to 256 KiB.
 *
 * So every class is a multiple of 16, at most 1/9 of a block above 128 bytes is waste, and every power of two is
 * a class; its spans are aligned so that its objects are aligned to their size. Classes are numbered from 1;
 * 0 means "none". Bin 1 + node * CLASSES + (class - 1) holds the objects of a class that live on a node.
 */
#ifndef NEAR_META_CLASSES_H
#define NEAR_META_CLASSES_H

#include "arch/sections.h"
#include "base/bits.h"

enum {
	CLASS_STEPS = 8,	 /* per doubling */
	CLASS_LINEAR = 8,	 /* classes up to 128 bytes */
	CLASSES = CLASS_LINEAR + CLASS_STEPS * 11,
	CLASS_LARGEST = 256 << 10,
	CLASS_TABLE_LARGEST = 32 << 10, /* up to here a table maps sizes */
	SPAN_MOST_OBJECTS = 1024,
};

_Static_assert(CLASSES == 96, "8 linear classes and 11 doublings from 128 bytes to 256 KiB");

struct class_info {
	uint32_t bytes;
	uint32_t inverse;  /* 2^32 / bytes, rounded up: (offset * inverse) >> 32 is the object's number */
	uint16_t objects;  /* per span */
	uint16_t pages;	   /* per span, of 4 KiB */
	uint16_t align;	   /* of spans, in pages */
	uint16_t capacity; /* pointers in a magazine at most */
};

extern HIDDEN struct class_info near__class[CLASSES + 1];
/* (size + 15) / 16 -> the class's place in a table of bins, in words, for node 0: twice the class. */
extern HIDDEN uint8_t near__class_slot[CLASS_TABLE_LARGEST / 16 + 1];

/* Computes the tables above; some microseconds. */
void near__classes_start(void);

/* The class of a size from 1 to CLASS_LARGEST. */
ALWAYS_INLINE unsigned class_of(size_t size)
{
	if (size <= 128)
		return (unsigned)((size + 15) / 16) + !size;

	unsigned doubling = log2_floor(size - 1); /* 2^doubling < size <= 2^(doubling + 1) */

	return CLASS_LINEAR + (doubling - 7) * CLASS_STEPS +
	       (unsigned)((size - 1 - ((size_t)1 << doubling)) >> (doubling - 3)) + 1;
}

ALWAYS_INLINE unsigned bin_of(unsigned node, unsigned class)
{
	return node * CLASSES + class;
}

ALWAYS_INLINE unsigned bin_class(unsigned bin)
{
	return (bin - 1) % CLASSES + 1;
}

ALWAYS_INLINE unsigned bin_node(unsigned bin)
{
	return (bin - 1) / CLASSES;
}

#endif
