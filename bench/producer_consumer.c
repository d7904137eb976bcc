/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * producer_consumer: some threads allocate and fill objects, others read and free them. They pass through one queue
 * with a lock, or through rings without one, one from each producer to each consumer, where the allocator counts for
 * more than the lock. With apart=1 producers run on the CPUs of the first node, consumers on those of the last.
 *
 * Memory must not grow: rss_10 to rss_100 tell what was resident when so many percent had been produced.
 */
#include "objects.h"
#include "team.h"

enum { SAMPLES = 10 };

static unsigned producers, consumers;
static size_t size;
static unsigned long each; /* objects of one producer */
static bool apart;
static struct queue queue;
static struct ring *rings; /* [producer][consumer]; NULL: the queue */
static struct object the_end;
static double samples[SAMPLES];

/* ---- threads -------------------------------------------------------------------------------------- */

static void produce(struct member *member)
{
	unsigned tenths = 0;

	for (unsigned long i = 0; i < each; i++) {
		struct object *object = object_new(size, WHOLE, &member->random);

		if (rings)
			ring_send(&rings[member->number * consumers + i % consumers], object);
		else
			queue_send(&queue, object);
		if (member->number == 0 && i + 1 >= each * (tenths + 1) / SAMPLES)
			samples[tenths++] = rss();
	}
	for (unsigned i = 0; rings && i < consumers; i++)
		ring_send(&rings[member->number * consumers + i], &the_end);
}

static void consume_rings(unsigned number)
{
	unsigned left = producers;

	for (unsigned from = 0, idle = 0; left; from = (from + 1) % producers) {
		struct object *object = ring_try_receive(&rings[from * consumers + number]);

		if (object == &the_end) {
			left--;
		} else if (object) {
			object_free(object, WHOLE);
			idle = 0;
		} else if (++idle >= producers) {
			sched_yield();
			idle = 0;
		}
	}
}

static void work(struct member *member)
{
	struct object *object;

	if (apart)
		stay_on_node(member->number >= producers);
	if (member->number < producers)
		produce(member);
	else if (rings)
		consume_rings(member->number - producers);
	else
		while ((object = queue_receive(&queue)))
			object_free(object, WHOLE);
}

static void run(void)
{
	static const char *const words[] = {"queue", "rings", NULL};
	bool ringed = choice("through", words);

	producers = (unsigned)number("producers", 1);
	consumers = (unsigned)number("consumers", 1);
	size = number("size", ringed ? 128 : 64);
	each = scaled("ops", ringed ? 4000000 : 1000000, ringed ? 500000 : 200000) / producers;
	apart = number_or_0("apart", 0);
	if (ringed) {
		rings = table(producers * consumers, sizeof(*rings));
		for (unsigned i = 0; i < producers * consumers; i++)
			ring_init(&rings[i], number("room", 20000));
	} else {
		queue_init(&queue, number("room", 10000), each * producers);
	}
	team_run(producers + consumers, work);
	stop(each * producers);
	for (unsigned i = 0; i < SAMPLES; i++)
		report_numbered("rss_%u", (i + 1) * 100 / SAMPLES, samples[i], "lower");
	report_freed();
}

static const char *rows[] = {
	"through=queue producers=1 consumers=1",
	"through=queue producers=4 consumers=4",
	"through=queue producers=1 consumers=4",
	"through=rings producers=1 consumers=1",
	"through=rings producers=4 consumers=4",
	"through=rings producers=1 consumers=4",
	NULL, /* one more, where there are two nodes */
	NULL,
};

int main(int argc, char **argv)
{
	char text[4096];

	(void)argc;
	if (read_cpulist(1, text, sizeof(text)))
		rows[sizeof(rows) / sizeof(*rows) - 2] = "through=rings producers=1 consumers=1 apart=1";
	return workload_main(argv, &(struct workload){"producer_consumer", rows, run});
}
