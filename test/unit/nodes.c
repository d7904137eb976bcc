/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * The caches where two CPUs that we may run on belong to two nodes: allocation by node of the CPU, and the way home of
 * what is freed elsewhere, adopted, or mixed.
 */
#include <pthread.h>

#include "base/conf.h"
#include "traffic.h"

enum { MANY = 3000 };

static void *held[MANY];

/* ---- here and there -------------------------------------------------------------------------------- */

TEST_IN_BOTH_MODES(near, memory_comes_from_the_node_of_the_cpu)
{
	machine_around_us(2);
	for (unsigned round = 0; round < 4; round++) {
		unsigned node = round % 2;

		unit_on_node(node);
		for (size_t size = 1; size < 8 * MIB; size += 1 + size / 3) {
			void *object = take(size);

			cr_assert_eq(near__home_of(object), (int)node, "size %zu", size);
			give(object);
		}
	}
	expect_all_home();
}

TEST_IN_BOTH_MODES(near, named_nodes_serve_whatever_the_cpu)
{
	machine_around_us(2);
	for (unsigned round = 0; round < 4; round++) {
		struct cpu_table *table = unit_on_node(round / 2);
		unsigned node = round % 2;

		for (size_t size = 1; size < 8 * MIB; size += 1 + size / 3) {
			void *object = take_on(size, node);

			cr_assert_eq(near__home_of(object), (int)node, "size %zu", size);
			give(object);
		}
		cr_assert_eq(table->counts.refills_remote > 0, round == 1 || round >= 2);
	}
	expect_all_home();
}

/* Another thread frees it: it has cleared one of the page map's words and not yet the other. */
Test(near, the_home_of_what_is_going_is_not_known)
{
	uintptr_t page;
	uint32_t index;
	unsigned bin;
	void *object;

	machine_around_us(2);
	unit_on_node(0);
	object = take(100 * KIB);
	page = round_down((uintptr_t)object, MAP_PAGE);
	index = near__pagemap_span(page);
	bin = pagemap_slot(page) / BIN_WORDS;
	near__pagemap_set(page, 1, bin, 0);
	cr_assert_eq(near__home_of(object), -1);
	near__pagemap_set(page, 1, bin, index);
	cr_assert_eq(near__home_of(object), 0);
	give(object);
	expect_all_home();
}

/* While the table is being made or drained by another. */
TEST_IN_BOTH_MODES(near, without_a_table_the_cpu_is_asked)
{
	machine_around_us(2);
	near__drain_lock.word = STRANGER;
	for (unsigned round = 0; round < 4; round++) {
		void *object, *large;

		unit_pin(cpu_of[round % 2]);
		cr_assert_null(near__cache_table());
		object = take(100);
		large = take(3 * MIB);
		cr_assert_eq(near__home_of(object), (int)(round % 2));
		cr_assert_eq(near__home_of(large), (int)(round % 2));
		give(object);
		give(large);
	}
	near__drain_lock.word = 0;
	expect_all_home();
}

TEST_IN_BOTH_MODES(near, what_is_freed_elsewhere_goes_home)
{
	unsigned class = class_of(64), bin = bin_of(0, class);
	struct cpu_table *mine, *other;

	machine_around_us(2);
	mine = unit_on_node(0);
	for (unsigned i = 0; i < 600; i++)
		held[i] = take(64);
	other = unit_on_node(1);
	for (unsigned i = 0; i < 600; i++) {
		give(held[i]);
		cr_assert_neq(loaded(other, bin), 0, "the outgoing bin");
		cr_assert_eq(other->bins[bin].spare, SPARE_NONE);
	}
	cr_assert_eq(loaded(other, bin_of(1, class)), 0, "the local one has none of it");
	cr_assert_eq(near__depot[1]->bytes, 0);
	cr_assert_eq(near__depot[0]->bytes, (600 - loaded(other, bin)) * 64, "full ones, by their capacity");
	cr_assert_eq(other->counts.flushes_remote, other->counts.flushes);
	cr_assert_eq(mine->counts.flushes, 0);
	expect_all_home();
}

static unsigned homes_wrong(void *const *objects, unsigned n, int home)
{
	unsigned wrong = 0;

	for (unsigned i = 0; i < n; i++)
		wrong += near__home_of(objects[i]) != home;
	return wrong;
}

TEST_IN_BOTH_MODES(near, homes_do_not_change_over_generations)
{
	uint64_t random = 7;

	machine_around_us(2);
	for (unsigned generation = 0; generation < 10; generation++) {
		for (unsigned node = 0; node < 2; node++) {
			unsigned half = MANY / 2;

			unit_on_node(node);
			for (unsigned i = 0; i < half; i++)
				held[node * half + i] = take(1 + unit_random(&random) % (i % 50 ? 300 : 70000));
			cr_assert_eq(homes_wrong(held + node * half, half, (int)node), 0, "generation %u", generation);
		}
		for (unsigned i = 0; i < MANY; i++) { /* most on the other node */
			if (i % 600 == 0)
				unit_on_node(i / (MANY / 2) ^ (i % 1200 == 0));
			give(held[i]);
		}
	}
	expect_all_home();
}

/* ---- two threads ------------------------------------------------------------------------------------ */

enum { GENERATIONS = 10, EACH = 2000 };

static pthread_barrier_t turn;
static void *exchanged[2][EACH];
static unsigned strangers[2];

/* Each allocates on its node and frees what the other has allocated, both at once. */
static void *one_of_two(void *arg)
{
	unsigned node = (unsigned)(uintptr_t)arg;
	uint64_t random = node + 1;

	unit_on_node(node);
	for (unsigned generation = 0; generation < GENERATIONS; generation++) {
		for (unsigned i = 0; i < EACH; i++) {
			exchanged[node][i] = take(1 + unit_random(&random) % 500);
			memset(exchanged[node][i], (int)node, 1);
		}
		strangers[node] += homes_wrong(exchanged[node], EACH, (int)node);
		pthread_barrier_wait(&turn);
		for (unsigned i = 0; i < EACH; i++)
			give(exchanged[!node][i]);
		pthread_barrier_wait(&turn);
	}
	return NULL;
}

TEST_IN_BOTH_MODES(near, two_threads_that_free_each_others_memory)
{
	pthread_t threads[2];
	struct near_node_pair there, back;

	machine_around_us(2);
	unit_on_node(0); /* one table is made at a time */
	unit_on_node(1);
	pthread_barrier_init(&turn, NULL, 2);
	for (uintptr_t node = 0; node < 2; node++)
		cr_assert_eq(pthread_create(&threads[node], NULL, one_of_two, (void *)node), 0);
	for (unsigned node = 0; node < 2; node++)
		pthread_join(threads[node], NULL);
	cr_assert(strangers[0] == 0 && strangers[1] == 0, "%u, %u", strangers[0], strangers[1]);
	unit_look();
	unit_look();
	there = pair(0, 1);
	back = pair(1, 0);
	cr_assert_eq(there.freed, GENERATIONS * EACH);
	cr_assert_eq(back.freed, GENERATIONS * EACH);
	cr_assert_eq(pair(0, 0).freed, 0);
	expect_all_home();
}

/* ---- adopted ---------------------------------------------------------------------------------------- */

TEST_IN_BOTH_MODES(adopt, the_magazine_stays_on_the_node_and_is_used_there)
{
	unsigned strange = 0, n;
	struct cpu_table *other;

	near__conf.remote_free = CONF_REMOTE_ADOPT;
	machine_around_us(2);
	unit_on_node(0);
	for (unsigned i = 0; i < 1000; i++)
		held[i] = take(64);
	other = unit_on_node(1);
	for (unsigned i = 0; i < 1000; i++)
		give(held[i]);
	cr_assert_eq(near__depot[0]->bytes, 0);
	n = 1000 - loaded(other, bin_of(0, class_of(64)));
	cr_assert_eq(near__depot[1]->bytes, n * 64);
	expect_freed(1, 0, n, n * 64);
	for (unsigned i = 0; i < n; i++) {
		held[i] = take(64);
		strange += near__home_of(held[i]) == 0;
	}
	cr_assert_eq(strange, n, "all of it is used before anything else");
	for (unsigned i = 0; i < n; i++)
		give(held[i]);
	expect_all_home();
}

TEST_IN_BOTH_MODES(adopt, large_objects_go_home_all_the_same)
{
	unsigned bin = bin_of(0, class_of(64 * KIB));

	near__conf.remote_free = CONF_REMOTE_ADOPT;
	machine_around_us(2);
	unit_on_node(0);
	held[0] = take(64 * KIB);
	unit_on_node(1);
	give(held[0]);
	cr_assert_eq(near__depot[1]->bytes + near__depot[0]->bytes, 0);
	cr_assert_eq(near__depot_pop(bin), 0);
	expect_all_home();
}

TEST_IN_BOTH_MODES(adopt, random_traffic_comes_home)
{
	uint64_t random = 3;
	unsigned n = 0;

	near__conf.remote_free = CONF_REMOTE_ADOPT;
	near__conf.depot_cache = 256 * KIB; /* so that magazines are flushed, too */
	machine_around_us(2);
	for (unsigned round = 0; round < 100000; round++) {
		if (round % 2000 == 0)
			unit_on_node((unsigned)(unit_random(&random) % 2));
		if (n < MANY && unit_random(&random) % 2) {
			held[n++] = take(1 + unit_random(&random) % 700);
		} else if (n) {
			unsigned victim = (unsigned)(unit_random(&random) % n);

			give(held[victim]);
			held[victim] = held[--n];
		}
		if (round % 20000 == 19999)
			unit_look();
	}
	expect_sound();
	while (n)
		give(held[--n]);
	expect_all_home();
}

/* ---- mixed magazines -------------------------------------------------------------------------------- */

/* In turn from node 0 and 1, `run` at a time. */
static void mixed(void **objects, unsigned n, unsigned class, unsigned run)
{
	for (unsigned i = 0; i < n; i++)
		cr_assert_eq(near__span_take(i / run % 2, class, &objects[i], 1), 1);
}

static unsigned used_on(unsigned node, unsigned class)
{
	unsigned used = 0;

	for (uint32_t i = 1; i < near__pool_end(&near__spans); i++) {
		const struct span *span = span_or_null(i);

		if (span && span->state == SPAN_OBJECTS && span->node == node && span->class == class)
			used += span->used;
	}
	return used;
}

Test(mixed, objects_of_two_nodes_find_their_spans, .timeout = 30)
{
	unsigned class = class_of(64);

	machine_around_us(2);
	for (unsigned run = 1; run <= 128; run *= 2) {
		mixed(held, 200, class, run);
		cr_assert_eq(used_on(0, class) + used_on(1, class), 200);
		cr_assert_eq(near__span_give(class, held, 200, "free"), 200);
		cr_assert_eq(used_on(0, class) + used_on(1, class), 0);
		expect_sound();
	}
	/* Spans that empty on the way, of classes that keep none. */
	mixed(held, 20, class_of(256 * KIB), 3);
	cr_assert_eq(near__span_give(class_of(256 * KIB), held, 20, "free"), 20);
	expect_all_home();
}

Test(mixed, a_held_lock_stops_at_the_first_object_behind_it, .timeout = 30)
{
	unsigned class = class_of(64);
	struct lock *lock;

	machine_around_us(2);
	lock = &near__heap[0]->spans[class].lock;
	mixed(held, 100, class, 30); /* 30 of node 0, 30 of node 1, 30 of node 0, 10 of node 1 */
	cr_assert(lock_acquire(lock));
	cr_assert_eq(near__span_give(class, held, 100, "free"), 10, "from the last down");
	cr_assert_eq(near__span_give(class, held, 90, "free"), 0);
	cr_assert_eq(near__span_give(class, held, 60, "free"), 30);
	lock_release(lock);
	cr_assert_eq(used_on(0, class), 60);
	cr_assert_eq(used_on(1, class), 0);
	expect_sound();
	cr_assert_eq(near__span_give(class, held + 60, 30, "free"), 30);
	cr_assert_eq(near__span_give(class, held, 30, "free"), 30);
	expect_all_home();
}

Test(mixed, a_magazine_keeps_what_could_not_be_given, .timeout = 30)
{
	unsigned class = class_of(64), bin = bin_of(1, class);
	uintptr_t cursor, kept;
	struct lock *lock;

	machine_around_us(2);
	lock = &near__heap[0]->spans[class].lock;
	cursor = near__magazine_prepare(near__magazine_take(1, 1), 100);
	mixed((void **)cursor + 1, 100, class, 30);
	cr_assert(lock_acquire(lock));
	cr_assert_not(near__depot_flush(bin, cursor + 100 * 8));
	lock_release(lock);
	cr_assert_eq(used_on(0, class) + used_on(1, class), 90);
	kept = near__depot_pop(bin);
	cr_assert_eq(kept, cursor + 90 * 8);
	cr_assert_eq(near__magazine_count(kept), 90);
	cr_assert(near__depot_flush(bin, kept));
	cr_assert_eq(used_on(0, class) + used_on(1, class), 0);
	expect_all_home();
}
