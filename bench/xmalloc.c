/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * xmalloc: some threads only allocate, others only free: batches of objects of mixed sizes pass between them. A cache
 * that belongs to one thread never gets back what it gave.
 */
#include "objects.h"
#include "team.h"

static const struct share mix[] = {{70, 8, 64}, {20, 65, 256}, {8, 257, 1024}, {2, 1025, 4096}};

static unsigned allocating;
static unsigned long count, batches; /* objects of a batch, batches of an allocating thread */
static struct queue queue;

static void work(struct member *member)
{
	struct object **batch;

	for (unsigned long i = 0; member->number < allocating && i < batches; i++) {
		batch = get(count * sizeof(*batch));
		for (unsigned long j = 0; j < count; j++)
			batch[j] = object_new(random_size(&member->random, mix), WHOLE, &member->random);
		queue_send(&queue, batch);
	}
	while (member->number >= allocating && (batch = queue_receive(&queue))) {
		objects_free(batch, count, WHOLE);
		put(batch);
	}
}

static void run(void)
{
	unsigned freeing = (unsigned)number("freeing", 1);

	allocating = (unsigned)number("allocating", 1);
	count = number("batch", 120);
	batches = scaled("ops", 3000000, 500000) / count / allocating;
	queue_init(&queue, number("room", 200), batches * allocating);
	team_run(allocating + freeing, work);
	stop(batches * count * allocating);
}

static const char *const rows[] = {"allocating=1 freeing=1", "allocating=4 freeing=4", "allocating=1 freeing=4", NULL};

int main(int argc, char **argv)
{
	(void)argc;
	return workload_main(argv, &(struct workload){"xmalloc", rows, run});
}
