/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * idle back|asleep|stay: a few objects are freed on another node than their own, too few to be sent home, and then
 * nobody frees more of their kind. After a while they must be back home, and be handed out there: `back`, while this
 * thread is busy elsewhere; `asleep`, while all threads sleep, of which there are two. Or they `stay`, if decay_ms is
 * long.
 */
#include "near.h"
#include "threads.h"

enum { FEW = 20, FEW_BYTES = 100, BUSY = 2000, ANSWER_MS = 8000, STAY_MS = 1500 };

static void *few[FEW];
static void *neighbours[FEW]; /* in use to the end, and so the spans are: else they might go, and others come */

/* Misses of a bin, on a CPU that has nothing to do with it. */
static void be_busy(void)
{
	static void *others[BUSY];

	for (int i = 0; i < BUSY; i++)
		others[i] = opaque(malloc(2000));
	for (int i = 0; i < BUSY; i++)
		free(others[i]);
}

static void *sleep_for_ever(void *unused)
{
	for (;;)
		nap_ms(1000);
	return unused;
}

static bool is_one_of_them(const void *p)
{
	for (int i = 0; i < FEW; i++) {
		if (few[i] == p)
			return true;
	}
	return false;
}

/* Those whom the home node is given again, of all of them. */
static int handed_out_again(void)
{
	enum { MANY = 100000 };
	static void *got[MANY];
	int again = 0;

	for (int i = 0; i < MANY; i++) {
		got[i] = opaque(malloc(FEW_BYTES));
		again += is_one_of_them(got[i]);
	}
	for (int i = 0; i < MANY; i++)
		free(got[i]);
	return again;
}

int main(int argc, char **argv)
{
	int nodes[3], n = 0, again;
	uint64_t before, at_first, end;
	bool back, asleep;

	CHECK(argc == 2);
	asleep = strcmp(argv[1], "asleep") == 0;
	back = asleep || strcmp(argv[1], "back") == 0;
	need_near();
	machine_read();
	for (int node = 0; node < machine.nodes && n < 3; node++) {
		if (is_ordinary(node) && cpu_of_node(node) >= 0)
			nodes[n++] = node;
	}
	if (n < 2)
		skip("there is one node only");
	if (n == 2)
		nodes[2] = nodes[0];
	if (asleep)
		thread_start(sleep_for_ever, NULL);
	pin(cpu_of_node(nodes[0]));
	for (int i = 0; i < FEW; i++) {
		few[i] = opaque(malloc(FEW_BYTES));
		neighbours[i] = opaque(malloc(FEW_BYTES));
	}
	pin(cpu_of_node(nodes[1]));
	before = pair_freed(nodes[1], nodes[0]);
	for (int i = 0; i < FEW; i++)
		free(few[i]);
	at_first = pair_freed(nodes[1], nodes[0]) - before;
	EXPECT(at_first < FEW, "all %d objects went home at once: nothing is tested", FEW);
	pin(cpu_of_node(nodes[2]));
	end = now_ns() + (uint64_t)(back ? ANSWER_MS : STAY_MS) * 1000000;
	while (now_ns() < end && (!back || pair_freed(nodes[1], nodes[0]) - before < FEW)) {
		if (!asleep)
			be_busy();
		nap_ms(1);
	}
	tell("%lu of %d were home at first, %lu later\n", at_first, FEW, pair_freed(nodes[1], nodes[0]) - before);
	EXPECT(back == (pair_freed(nodes[1], nodes[0]) - before == FEW), "%lu of %d objects came home",
	       pair_freed(nodes[1], nodes[0]) - before, FEW);
	if (back) {
		pin(cpu_of_node(nodes[0]));
		again = handed_out_again();
		EXPECT(again == FEW, "%d of %d objects were handed out again", again, FEW);
	}
	return lab_status;
}
