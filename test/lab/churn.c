/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * churn SECONDS [CPU]...: threads that allocate, hand over and free, while somebody switches CPUs off and on.
 *
 * Nothing is lost or damaged, and at the end as much is allocated as before. Of the objects that a thread got without
 * changing its CPU, 99 % of the pages lie on the CPU's node. For each CPU that is named, and may be offline at the
 * start, there is a thread more that waits for it and then runs there: it too must find its memory near.
 */
#include "near.h"
#include "threads.h"

enum { LIVE_OBJECTS = 150, MOST_THREADS = LAB_CPUS + 8, SLACK = 32 << 10 };

struct churner {
	pthread_t thread;
	int late; /* the CPU to run on; -1: any */
	uint64_t random;
	unsigned long done, moved;
	struct share share;
};

static struct churner churners[MOST_THREADS];
static int churner_count;
static uint64_t end_ns;

/* One for all: an object in it may be taken by whoever comes. */
static struct object market[64];
static pthread_mutex_t market_lock = PTHREAD_MUTEX_INITIALIZER;

/* The node as the kernel says it now: /sys knew nothing of a CPU that was offline. */
static int here(unsigned *node)
{
	unsigned cpu = 0;

	CHECK(syscall(SYS_getcpu, &cpu, node, NULL) == 0);
	return (int)cpu;
}

static void take(struct churner *c, struct object *o)
{
	unsigned node, after;
	int cpu = here(&node);

	*o = (struct object){.size = mixed_size(&c->random), .cpu = (uint16_t)cpu, .node = (uint16_t)node};
	o->ptr = opaque(malloc(o->size));
	CHECK(o->ptr != NULL);
	object_fill(o, random_next(&c->random));
	c->done++;
	if (here(&after) != cpu)
		c->moved++;
	else if (c->late < 0 || c->late == cpu)
		objects_where(o, 1, &c->share);
}

static void swap(struct churner *c, struct object *mine)
{
	struct object *place = &market[random_below(&c->random, 64)], kept = *mine;

	pthread_mutex_lock(&market_lock);
	*mine = *place;
	*place = kept;
	pthread_mutex_unlock(&market_lock);
}

static void step(struct churner *c, struct object *objects)
{
	struct object *o = &objects[random_below(&c->random, LIVE_OBJECTS)];

	if (random_below(&c->random, 4) == 0)
		swap(c, o);
	else if (o->ptr == NULL)
		take(c, o);
	else
		object_drop(o);
}

static bool run_there(int cpu)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET((size_t)cpu, &one);
	return sched_setaffinity(0, sizeof(one), &one) == 0;
}

static void *churn(void *arg)
{
	struct churner *c = arg;
	struct object *objects = map_memory(LIVE_OBJECTS * sizeof(objects[0]));

	do {
		if (c->late >= 0 && !run_there(c->late)) { /* not online */
			nap_ms(20);
			continue;
		}
		for (int i = 0; i < 20; i++)
			step(c, objects);
	} while (now_ns() < end_ns);
	for (int i = 0; i < LIVE_OBJECTS; i++) {
		if (objects[i].ptr != NULL)
			object_drop(&objects[i]);
	}
	munmap(objects, LIVE_OBJECTS * sizeof(objects[0]));
	return NULL;
}

static void start(int late)
{
	struct churner *c = &churners[churner_count];

	c->late = late;
	c->random = (uint64_t)++churner_count * 77;
	c->thread = thread_start(churn, c);
}

static void judge(const char *who, const struct share *share)
{
	uint64_t pages = share->small_pages + share->large_pages, local = share->small_local + share->large_local;

	tell("%s: %lu of %lu pages of small objects and %lu of %lu of large ones are local\n", who, share->small_local,
	     share->small_pages, share->large_local, share->large_pages);
	EXPECT(pages > 0, "%s: nothing was allocated", who);
	EXPECT(local * 100 >= pages * 99, "%s: only %lu of %lu pages are local", who, local, pages);
}

static void finish(void)
{
	struct share sum = {0};
	unsigned long done = 0, moved = 0;
	char who[40];

	for (int i = 0; i < churner_count; i++) {
		struct churner *c = &churners[i];

		thread_join(c->thread);
		done += c->done;
		moved += c->moved;
		share_add(&sum, &c->share);
		if (c->late >= 0) {
			snprintf(who, sizeof(who), "on CPU %d", c->late);
			judge(who, &c->share);
		}
	}
	tell("%lu objects, %lu times the CPU changed meanwhile\n", done, moved);
	judge("on all", &sum);
	for (int i = 0; i < 64; i++) {
		if (market[i].ptr != NULL)
			object_drop(&market[i]);
	}
}

int main(int argc, char **argv)
{
	uint64_t base, left;
	int threads;

	CHECK(argc >= 2);
	need_near();
	machine_read();
	end_ns = now_ns() + 20000000; /* once for nothing, for what libc keeps of threads */
	start(-1);
	finish();
	churner_count = 0;
	memset(churners, 0, sizeof(churners));
	base = stats_now().allocated;
	threads = machine.cpus + 2;
	end_ns = now_ns() + (uint64_t)(strtod(argv[1], NULL) * 1e9);
	for (int i = 0; i < threads; i++)
		start(-1);
	for (int i = 2; i < argc; i++)
		start(atoi(argv[i]));
	finish();
	left = stats_now().allocated;
	EXPECT(left <= base + SLACK && base <= left + SLACK,
	       "%lu bytes are allocated at the end, %lu were at the start", left, base);
	near_trim(0);
	left = stats_now().allocated;
	EXPECT(left <= base + SLACK && base <= left + SLACK,
	       "%lu bytes are allocated after a trim, %lu were at the start", left, base);
	return lab_status;
}
