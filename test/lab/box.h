/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* Objects on their way from thread to thread: a box for each CPU. */
#ifndef NEAR_TEST_LAB_BOX_H
#define NEAR_TEST_LAB_BOX_H

#include "objects.h"

enum { BOX = 64 };

struct box {
	pthread_mutex_t lock;
	unsigned count;
	struct object objects[BOX];
};

static struct box boxes[LAB_CPUS];

static inline bool box_put(struct box *box, const struct object *o)
{
	bool room;

	pthread_mutex_lock(&box->lock);
	room = box->count < BOX;
	if (room)
		box->objects[box->count++] = *o;
	pthread_mutex_unlock(&box->lock);
	return room;
}

static inline bool box_get(struct box *box, struct object *o)
{
	bool any;

	pthread_mutex_lock(&box->lock);
	any = box->count > 0;
	if (any)
		*o = box->objects[--box->count];
	pthread_mutex_unlock(&box->lock);
	return any;
}

static inline void open_boxes(void)
{
	for (int i = 0; i < LAB_CPUS; i++) {
		pthread_mutex_init(&boxes[i].lock, NULL);
		boxes[i].count = 0;
	}
}

#endif
