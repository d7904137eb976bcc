/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * size_mix: a live set that changes at random: a slot is chosen, and what is in it freed, or else it is filled. Sizes
 * are even between least and most, or every doubling is as likely as another (then both are powers of two).
 */
#include "objects.h"
#include "team.h"

static unsigned long each;
static uint32_t slots;
static size_t least, most;
static bool doubling;

static void work(struct member *member)
{
	struct object **objects = table(slots, sizeof(*objects));
	uint64_t *random = &member->random;

	for (unsigned long i = 0; i < each; i++) {
		struct object **slot = &objects[random_below(random, slots)];

		if (*slot) {
			object_free(*slot, WHOLE);
			*slot = NULL;
		} else if (doubling) {
			*slot = object_new(random_doubling(random, least, most), WHOLE, random);
		} else {
			*slot = object_new(random_between(random, least, most), WHOLE, random);
		}
	}
	objects_free(objects, slots, WHOLE);
}

static void run(void)
{
	static const char *const words[] = {"even", "doubling", NULL};
	unsigned threads = (unsigned)number("threads", 1);

	doubling = choice("sizes", words);
	least = number("least", 16);
	most = number("most", 1024);
	slots = (uint32_t)number("slots", 1024);
	each = scaled("ops", 2000000, 400000) / threads;
	if (least < sizeof(struct object) || most <= least ||
	    (doubling && ((least & (least - 1)) || (most & (most - 1)))))
		die("no such sizes");
	team_run(threads, work);
	stop(each * threads);
}

static const char *const rows[] = {
	"sizes=even most=1024 slots=1024",
	"sizes=even most=1024 slots=100000",
	"sizes=doubling most=1024 slots=400 threads=8",
	"sizes=doubling most=32768 slots=4096 threads=4",
	NULL,
};

int main(int argc, char **argv)
{
	(void)argc;
	return workload_main(argv, &(struct workload){"size_mix", rows, run});
}
