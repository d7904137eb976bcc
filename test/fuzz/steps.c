/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* What a step does beside the calls for one block: chains of objects, other hands, CPUs, children, questions. */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/sysinfo.h>

#include "step.h"

enum {
	GIFTS = 8,
	LONGEST_CHAIN = 4096,
	SLOW_STEPS = 2, /* of each thread and input */
};

static pthread_mutex_t gifts_lock = PTHREAD_MUTEX_INITIALIZER;
static struct block gifts[GIFTS];

/* ---- many objects of one size ----------------------------------------------------------------------- */

static uintptr_t mark_of(const struct link *link)
{
	return (uintptr_t)link * 0x9e3779b97f4a7c15u ^ 0x5bd1e995u;
}

static void chain_grow(struct chain *chain, const struct step *step)
{
	size_t size = 16 + (word(step) >> step->kind % 8) % 40000, count = 1 + step->where * (size_t)4;

	if (size > 2048)
		count = 1 + count / 16;
	while (count-- > 0 && chain->count < LONGEST_CHAIN) {
		struct link *link = malloc(size);

		if (link == NULL) {
			CHECK(errno_is(ENOMEM) && may_fail(size, 0));
			errno = UNTOUCHED;
			return;
		}
		*link = (struct link){.next = chain->first, .mark = mark_of(link)};
		chain->first = link;
		chain->count++;
	}
	CHECK(errno_is(UNTOUCHED));
}

/* Frees one of `every`, up to `most`. */
static void chain_cut(struct chain *chain, size_t every, size_t most)
{
	struct link **at = &chain->first, *link;

	for (size_t i = 0; (link = *at) != NULL && most > 0; i++) {
		CHECK(link->mark == mark_of(link));
		if (i % every != 0) {
			at = &link->next;
			continue;
		}
		*at = link->next;
		chain->count--;
		most--;
		free(link);
	}
	CHECK(errno_is(UNTOUCHED));
}

/* ---- hands, clocks, CPUs, questions ----------------------------------------------------------------- */

static void exchange(struct block *b, struct block *gift)
{
	struct block kept;

	pthread_mutex_lock(&gifts_lock);
	kept = *b;
	*b = *gift;
	*gift = kept;
	pthread_mutex_unlock(&gifts_lock);
}

static void move_to_cpu(unsigned n)
{
	static long cpus;
	cpu_set_t one;

	if (cpus == 0)
		cpus = sysconf(_SC_NPROCESSORS_ONLN);
	CPU_ZERO(&one);
	CPU_SET(n % (unsigned)cpus, &one);
	sched_setaffinity(0, sizeof(one), &one);
}

/*
 * Linux copies no mapping for a child that is longer than memory and swap (overcommit_memory 0), and neighbours become
 * one: gigabytes beside gigabytes, as they are asked for here, have no child under any allocator.
 */
static bool too_long_to_copy(void)
{
	char line[4096];
	struct sysinfo machine;
	unsigned long from, to;
	size_t longest = 0, bytes = 0;
	FILE *maps = fopen("/proc/self/smaps", "re");

	CHECK(maps != NULL && sysinfo(&machine) == 0);
	while (fgets(line, sizeof(line), maps) != NULL) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			bytes = to - from;
		else if (strncmp(line, "VmFlags:", 8) == 0 && strstr(line, " ac") != NULL && longest < bytes)
			longest = bytes;
	}
	fclose(maps);
	return longest > (machine.totalram + machine.totalswap) * machine.mem_unit;
}

/* A child finds its thread's blocks as they were, and can do everything. */
static void have_child(const struct owner *me)
{
	pid_t child = fork();

	/* Another thread may have freed it since: then the next fork is not refused. */
	for (unsigned tries = 0; child < 0 && errno_is(ENOMEM) && tries < 10; tries++) {
		if (too_long_to_copy())
			return;
		child = fork();
	}
	CHECK(child >= 0);
	if (child == 0) {
		void *ptr;

		alarm(20);
		owner_verify(me);
		for (size_t size = 1; size < 3 << 20; size *= 3) {
			ptr = malloc(size);
			CHECK(ptr != NULL || may_fail(size, 0));
			free(realloc(ptr, size * 2));
		}
		near_trim(0);
		_exit(0);
	}
	expect_clean_exit(child);
}

void owner_verify(const struct owner *me)
{
	for (unsigned i = 0; i < BLOCKS; i++) {
		if (me->blocks[i].ptr != NULL)
			block_verify(&me->blocks[i]);
	}
}

static int visit(const struct near_range *range, void *argument)
{
	size_t *left = argument;

	CHECK(range->bytes % 4096 == 0 && range->kind >= NEAR_RANGE_OBJECTS && range->kind <= NEAR_RANGE_METADATA);
	free(malloc(range->bytes % 3000));
	return --*left == 0;
}

static void ask(const struct owner *me, const struct step *step)
{
	static __thread char room[2 * sizeof(struct near_stats)];
	static __thread size_t counts[1024];
	size_t size = word(step) % sizeof(room), left = 1 + word(step) % 100;
	const struct block *b = &me->blocks[step->where % BLOCKS];
	uintptr_t anywhere = (uintptr_t)b->ptr + (word(step) << step->kind % 48);
	int node = node_of(step);

	switch (step->kind / 16 % 12) {
	case 0:
		CHECK(near_stats((void *)room, size) == (size == 0 ? -1 : 0));
		break;
	case 1:
		(void)near_residence((void *)room, sizeof(struct near_residence));
		break;
	case 2:
		(void)near_walk(visit, &left);
		break;
	case 3:
		(void)near_node_stats(node, (void *)room, size);
		break;
	case 4:
		(void)near_node_pair(node, (int)step->low % 4, (void *)room, size);
		break;
	case 5:
		(void)near_node_sample(node, size, counts);
		break;
	case 6:
		CHECK(near_node_resident((void *)anywhere, SIZE_MAX - anywhere + 2, counts) == -1 || anywhere < 2);
		(void)near_node_resident(b->ptr, b->size, counts);
		break;
	case 7:
		(void)near_node_of((void *)anywhere);
		break;
	case 8:
		(void)near_owns((void *)anywhere);
		break;
	case 9:
		(void)mallinfo2();
		break;
	case 10:
		CHECK(mallopt(step->low % 2 ? M_TRIM_THRESHOLD : -(int)step->low, (int)word(step) << 8) == 1);
		break;
	default:
		(void)near_good_size(size_of(step));
	}
	errno = UNTOUCHED;
}

/* ---- steps ------------------------------------------------------------------------------------------- */

static void slow_step(struct owner *me, const struct step *step)
{
	if (me->slow++ >= SLOW_STEPS)
		return;
	if (step->low % 4 == 0)
		have_child(me);
	else
		nap_ms(1 + step->low / 4 % 4);
	errno = UNTOUCHED;
}

void step_run(struct owner *me, const struct step *step)
{
	struct block *b = &me->blocks[step->where % BLOCKS];
	struct chain *chain = &me->chains[step->who / THREADS % CHAINS];
	uint64_t key = (word(step) + 1) * 0x100000001b3u + step->where;

	errno = UNTOUCHED;
	switch (step->what / 16) {
	case 0:
		exchange(b, &gifts[step->low % GIFTS]);
		break;
	case 1:
		move_to_cpu(step->low);
		break;
	case 2:
		ask(me, step);
		break;
	case 3:
		slow_step(me, step);
		break;
	case 4:
		(void)(step->low % 2 ? near_trim(word(step) << 8) : (size_t)malloc_trim(word(step) << 8));
		break;
	case 5:
		chain_grow(chain, step);
		break;
	case 6:
		chain_cut(chain, 1 + step->low % 16, (size_t)step->high * 16);
		break;
	case 7:
		owner_verify(me);
		break;
	default:
		if (b->ptr == NULL)
			take(b, step, key);
		else
			use(b, step, key);
	}
}

static void blocks_empty(struct block *blocks, unsigned count)
{
	errno = UNTOUCHED;
	for (unsigned i = 0; i < count; i++) {
		if (blocks[i].ptr != NULL)
			released(&blocks[i], free);
	}
}

void owner_empty(struct owner *me)
{
	blocks_empty(me->blocks, BLOCKS);
	for (unsigned i = 0; i < CHAINS; i++)
		chain_cut(&me->chains[i], 1, LONGEST_CHAIN);
	me->slow = 0;
}

void gifts_empty(void)
{
	blocks_empty(gifts, GIFTS);
}
