/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* meta/pool: indices and addresses, the stack's order and tag, and many threads on one stack. */
#include <pthread.h>
#include <signal.h>

#include "unit.h"

struct record {
	uint64_t owner;
	char more[88];
};

POOL_DEFINE(records, sizeof(struct record), 32);
POOL_DEFINE(pages, 4096, 4096);

static struct record *record_at(uint32_t index)
{
	return pool_record(&records, index);
}

Test(pool, index_and_address_are_inverse)
{
	for (unsigned i = 0; i < 5000; i++) {
		uint32_t index = near__pool_take(&records, 0);
		uintptr_t address = (uintptr_t)record_at(index);

		cr_assert_neq(index, 0);
		cr_assert_eq(address % 32, 0);
		cr_assert_eq(pool_index(&records, address), index);
		cr_assert_eq(pool_index(&records, address + sizeof(struct record) - 1), index);
		cr_assert_eq(near__pool_peek(&records, index), (void *)address);
		cr_assert_eq(near__pool_end(&records), index + 1);
		cr_assert_eq(record_at(index)->owner, 0, "given out twice");
		record_at(index)->owner = index;
		pool_slot(&records, index)->next = ~0u; /* a slot overlaps no record */
	}
	for (uint32_t i = 1; i < near__pool_end(&records); i++) {
		struct record *r = near__pool_peek(&records, i);

		cr_assert(!r || r->owner == i);
	}
}

Test(pool, records_keep_their_alignment)
{
	for (unsigned i = 0; i < 100; i++) {
		uint32_t index = near__pool_take(&pages, 0);
		char *page = pool_record(&pages, index);

		cr_assert_eq((uintptr_t)page % 4096, 0);
		memset(page, 1, 4096);
		cr_assert_eq(pool_index(&pages, (uintptr_t)page + 4095), index);
	}
}

Test(pool, records_given_back_come_first)
{
	uint32_t a = near__pool_take(&records, 0), b = near__pool_take(&records, 0);

	near__pool_give(&records, a);
	near__pool_give(&records, b);
	cr_assert_not(near__pool_take_fresh(&records, 0) == a);
	cr_assert_eq(near__pool_take(&records, 0), b);
	cr_assert_eq(near__pool_take(&records, 0), a);
}

Test(pool, nothing_before_the_first_record)
{
	for (uint32_t i = 1; i < near__pool_end(&pages); i++)
		cr_assert_null(near__pool_peek(&pages, i));
}

static struct stack stack;

Test(stack, last_in_first_out)
{
	uint32_t index[300];

	cr_assert_eq(near__stack_pop(&stack, &records), 0);
	for (unsigned i = 0; i < ARRAY_LEN(index); i++) {
		index[i] = near__pool_take(&records, 0);
		near__stack_push(&stack, &records, index[i]);
		cr_assert_eq(stack_top(&stack), index[i]);
	}
	for (unsigned i = ARRAY_LEN(index); i-- > 0;)
		cr_assert_eq(near__stack_pop(&stack, &records), index[i]);
	cr_assert_eq(near__stack_pop(&stack, &records), 0);
	cr_assert_eq(stack_top(&stack), 0);
}

Test(stack, every_change_has_a_tag_of_its_own)
{
	uint32_t a = near__pool_take(&records, 0), b = near__pool_take(&records, 0);
	uint64_t seen;

	near__stack_push(&stack, &records, b);
	near__stack_push(&stack, &records, a);
	seen = stack.head;
	/* The ABA sequence: afterwards `a` is on top as before, but what is below it is another. */
	cr_assert_eq(near__stack_pop(&stack, &records), a);
	cr_assert_eq(near__stack_pop(&stack, &records), b);
	near__stack_push(&stack, &records, a);
	cr_assert_eq((uint32_t)stack.head, (uint32_t)seen);
	cr_assert_neq(stack.head, seen);
	cr_assert_eq(stack.head >> 32, (seen >> 32) + 3);
	cr_assert_not(cas_acq_rel(&stack.head, &seen, (uint64_t)b), "a popper that slept is refused");
}

Test(stack, the_tag_wraps_into_nothing)
{
	uint32_t a = near__pool_take(&records, 0);

	stack.head = (uint64_t)UINT32_MAX << 32;
	near__stack_push(&stack, &records, a);
	cr_assert_eq(stack.head, a);
	cr_assert_eq(near__stack_pop(&stack, &records), a);
}

enum { THREADS = 4, RECORDS = 16, ROUNDS = 200000 };

static unsigned doubles;

static uint32_t pop_owned(void)
{
	uint32_t index = near__stack_pop(&stack, &records);

	if (index && exchange_acq_rel(&record_at(index)->owner, 1ull))
		fetch_add_relaxed(&doubles, 1u);
	return index;
}

static void push_owned(uint32_t index)
{
	if (!index)
		return;
	if (!exchange_acq_rel(&record_at(index)->owner, 0ull))
		fetch_add_relaxed(&doubles, 1u);
	near__stack_push(&stack, &records, index);
}

/* Two out, and back in the other order: what a stack without a tag does not survive. */
static void *churn(void *arg)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint32_t first = pop_owned(), second = pop_owned();

		push_owned(i & 1 ? first : second);
		push_owned(i & 1 ? second : first);
	}
	return arg;
}

Test(stack, threads_lose_and_double_nothing, .timeout = 60)
{
	pthread_t threads[THREADS];
	unsigned left = 0;

	for (unsigned i = 0; i < RECORDS; i++)
		near__stack_push(&stack, &records, near__pool_take(&records, 0));
	for (int i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, churn, NULL), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	cr_assert_eq(doubles, 0);
	while (pop_owned())
		left++;
	cr_assert_eq(left, RECORDS);
	cr_assert_eq(doubles, 0);
}

enum { TAKERS = 4, EACH = 3000 };

static uint32_t taken[TAKERS][EACH];

static void *taker(void *arg)
{
	for (int i = 0; i < EACH; i++)
		((uint32_t *)arg)[i] = near__pool_take(&records, 0);
	return arg;
}

Test(pool, threads_take_different_records, .timeout = 30)
{
	pthread_t threads[TAKERS];

	for (int i = 0; i < TAKERS; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, taker, taken[i]), 0);
	for (int i = 0; i < TAKERS; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < TAKERS; i++) {
		for (int j = 0; j < EACH; j++) {
			cr_assert_neq(taken[i][j], 0);
			cr_assert_eq(record_at(taken[i][j])->owner, 0);
			record_at(taken[i][j])->owner = 1;
		}
	}
}
