/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * One Treiber stack of few records. A signal handler that comes between the loads and the CAS of a pop takes two
 * records and puts the first back: the head looks as before, and only its tag says otherwise.
 */
#include "meta/pool.h"
#include "stress.h"

enum { RECORDS = 12 };

POOL_DEFINE(records, 64, 64);
static struct stack stack;

static uint64_t *owner_of(uint32_t index)
{
	return pool_record(&records, index);
}

static uint32_t pop(void)
{
	uint32_t index = near__stack_pop(&stack, &records);

	if (index && exchange_acq_rel(owner_of(index), 1ull))
		die("popped twice");
	return index;
}

static void push(uint32_t index)
{
	if (!index)
		return;
	if (!exchange_acq_rel(owner_of(index), 0ull))
		die("pushed twice");
	near__stack_push(&stack, &records, index);
}

static void swap_two(void)
{
	uint32_t first = pop(), second = pop();

	push(first);
	push(second);
}

/* Keeps the second until the next signal. */
static void interrupt(void)
{
	static __thread uint32_t kept;
	uint32_t first = pop(), second = pop();

	push(kept);
	kept = second;
	push(first);
	if (next_random(&(uint64_t){first}) % 2) {
		push(kept);
		kept = 0;
	}
	if (crew_stop) {
		push(kept);
		kept = 0;
	}
}

static void work(void)
{
	while (!crew_stop)
		swap_two();
}

void run_stack(unsigned seconds)
{
	unsigned left = 0;

	for (unsigned i = 0; i < RECORDS; i++)
		near__stack_push(&stack, &records, near__pool_take(&records, 0));
	crew_run(seconds, work, interrupt, NULL);
	while (pop())
		left++;
	/* What handlers kept at the end is theirs; each had one at most. */
	if (left > RECORDS || left + WORKERS < RECORDS)
		die("records are lost");
	printf("%u of %u records, %lu changes\n", left, (unsigned)RECORDS, (unsigned long)(stack.head >> 32));
}
