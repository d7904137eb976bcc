/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * pairs: as many producers as consumers, 16 of each; producer i allocates chains of 256 objects of 64 bytes and hands them to
 * consumer i + 1, which frees them. One operation is an object allocated by one and freed by the other.
 */
#include "objects.h"
#include "team.h"

struct link {
	struct link *next;
	uint64_t tag;
};

static unsigned pairs, batch;
static size_t size;
static unsigned long batches; /* of each producer */
static struct ring *rings;    /* of each consumer */

static void produce(unsigned number)
{
	for (unsigned long i = 0; i < batches; i++) {
		struct link *chain = NULL;

		for (unsigned j = 0; j < batch; j++) {
			struct link *link = get(size);

			*link = (struct link){chain, j};
			chain = link;
		}
		ring_send(&rings[(number + 1) % pairs], chain);
	}
}

static void consume(unsigned number)
{
	for (unsigned long i = 0; i < batches; i++) {
		struct link *link = ring_receive(&rings[number]), *next;

		for (unsigned j = batch; j--; link = next) {
			if (link->tag != j)
				die("an object was overwritten");
			link->tag = UINT64_MAX;
			next = link->next;
			put(link);
		}
	}
}

static void work(struct member *member)
{
	if (member->number < pairs)
		produce(member->number);
	else
		consume(member->number - pairs);
}

static void run(void)
{
	pairs = (unsigned)number("pairs", 16);
	batch = (unsigned)number("batch", 256);
	size = number("size", 64);
	batches = scaled("ops", 1000000, 100000) / batch;
	rings = table(pairs, sizeof(*rings));
	for (unsigned i = 0; i < pairs; i++)
		ring_init(&rings[i], number("room", 64));
	team_run(2 * pairs, work);
	stop(batches * batch * pairs);
	report_freed();
}

static const char *const rows[] = {"pairs=1", "pairs=4", "pairs=16", NULL};

int main(int argc, char **argv)
{
	(void)argc;
	return workload_main(argv, &(struct workload){"pairs", rows, run});
}
