/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * What the library does while its system calls fail. Each case works under faults, where every request may be answered
 * with NULL and ENOMEM and nothing else may happen; then without, where every request must be served; and in the end
 * nothing may be lost: all memory that is mapped is the allocator's by its own account.
 *
 * Status: 0; 3 when something was refused.
 */
#include <near/malloc.h>
#include <sys/prctl.h>
#include <sys/single_threaded.h>

#include "account.h"
#include "calls.h"
#include "shadow.h"
#include "threads.h"

enum { LEAST_STACK = 128 << 10 };

#pragma weak near_malloc_on_node
#pragma weak near_realloc_on_node
#pragma weak near_node_resident
#pragma weak near_node_sample
#pragma weak near_residence
#pragma weak near_report
#pragma weak near_walk
#pragma weak near_malloc_at_least

static unsigned long refused;

static void phase(int number)
{
	prctl(PHASE_CALL, number);
}

static void begin(void)
{
	account_open();
	phase(PHASE_LOAD);
}

static void end_of_faults(void)
{
	phase(PHASE_RECOVER);
	expect_sound();
}

/* ---- one thread ----------------------------------------------------------------------------------------- */

/* Alignments that the kernel does not give by itself. */
static void aligned(bool may_fail)
{
	void *blocks[4];

	for (unsigned i = 0; i < 4; i++) {
		blocks[i] = aligned_alloc(8u << 20, (i + 1) << 20);
		CHECK(blocks[i] || (may_fail && errno == ENOMEM));
		CHECK((uintptr_t)blocks[i] % (8u << 20) == 0);
		refused += !blocks[i];
	}
	for (unsigned i = 0; i < 4; i++)
		free(blocks[i]);
}

static void churn(unsigned blocks, size_t largest, unsigned long steps)
{
	struct shadow s;

	shadow_open(&s, blocks, largest, 3);
	begin();
	s.may_fail = true;
	shadow_steps(&s, steps);
	shadow_verify(&s);
	shadow_empty(&s);
	shadow_steps(&s, steps);
	if (largest > 1 << 20)
		aligned(true);
	end_of_faults();
	s.may_fail = false;
	shadow_verify(&s);
	shadow_steps(&s, steps);
	shadow_check_overlap(&s);
	refused += s.failures;
	shadow_close(&s);
	if (largest > 1 << 20)
		aligned(false);
	expect_nothing_lost();
}

static void small(void)
{
	churn(1500, 2000, 2500);
}

static void middle(void)
{
	churn(200, 250000, 800);
}

static void large(void)
{
	churn(40, 4u << 20, 800);
}

/* Mappings that grow and shrink in place, move, and are kept for re-use. */
static void resize(void)
{
	enum { BLOCKS = 3, ROUNDS = 24 };
	static const size_t sizes[] = {3u << 20, 4u << 20, 1500000, 6u << 20, 1200000, 300000, 5u << 20};
	struct block b[BLOCKS] = {{.ptr = NULL}};

	begin();
	for (unsigned i = 0; i < ROUNDS * BLOCKS; i++) {
		struct block *one = &b[i % BLOCKS], kept = *one;
		size_t size = sizes[(i + i / BLOCKS * 3) % (sizeof(sizes) / sizeof(sizes[0]))];
		void *moved;

		if (i == ROUNDS / 2 * BLOCKS)
			end_of_faults();
		moved = realloc(one->ptr, size);
		if (!moved) {
			CHECK(errno == ENOMEM && i < ROUNDS / 2 * BLOCKS);
			refused++;
			continue;
		}
		kept.ptr = moved;
		kept.size = size < kept.size ? size : kept.size;
		if (kept.size > FULLY_FILLED)
			kept.size = FULLY_FILLED;
		block_verify(&kept);
		*one = (struct block){.ptr = moved, .size = size};
		block_fill(one, i);
	}
	for (unsigned i = 0; i < BLOCKS; i++)
		free(b[i].ptr);
	expect_nothing_lost();
}

/* What was given back reads as zero, or is known not to. */
static void expect_zeros(bool may_fail)
{
	enum { BLOCKS = 8, BYTES = 400000 };
	unsigned char *blocks[BLOCKS];

	for (unsigned i = 0; i < BLOCKS; i++) {
		blocks[i] = calloc(1, BYTES);
		CHECK(blocks[i] || (may_fail && errno == ENOMEM));
		refused += !blocks[i];
		if (blocks[i]) {
			CHECK(all_zero(blocks[i], BYTES));
			memset(blocks[i], 0x77, BYTES);
		}
	}
	for (unsigned i = 0; i < BLOCKS; i++)
		free(blocks[i]);
}

/* Bursts that are given back: at once, by malloc_trim, and in time (decay_ms is short). */
static void give_back(void)
{
	struct shadow s;
	void *pin = malloc(100); /* so that the region stays, and is purged */

	shadow_open(&s, 500, 600000, 11);
	begin();
	s.may_fail = true;
	for (unsigned i = 0; i < 6; i++) {
		if (i == 4) {
			end_of_faults();
			s.may_fail = false;
		}
		shadow_steps(&s, 800);
		shadow_verify(&s);
		shadow_empty(&s);
		expect_zeros(s.may_fail);
		near_trim(i % 3 << 20);
		malloc_trim(0);
		nap_ms(2);
	}
	free(pin);
	refused += s.failures;
	shadow_close(&s);
	expect_nothing_lost();
}

/* As if there were threads: then ranges go back together. */
static void together(void)
{
	__libc_single_threaded = false;
	give_back();
}

/* ---- fences ---------------------------------------------------------------------------------------------- */

/* Calls of this number that were made, or that failed. */
static int count_of(int question, int call)
{
	int n = prctl(PHASE_CALL, question, call);

	return n > 0 ? n : 0;
}

static uint64_t cached(void)
{
	struct near_stats stats;

	CHECK(near_stats(&stats, sizeof(stats)) == 0);
	return stats.cached_cpu;
}

/* The bins of a CPU that could not be fenced are left alone, for somebody may be at work there. */
static void fences(void)
{
	enum { BLOCKS = 200, ROUNDS = 8 };
	void *blocks[BLOCKS];

	begin();
	for (unsigned round = 0; round < ROUNDS; round++) {
		int made = count_of(PHASE_MADE, SYS_membarrier), failed = count_of(PHASE_FAILED, SYS_membarrier);
		uint64_t before;

		if (round == ROUNDS / 2)
			end_of_faults();
		for (unsigned i = 0; i < BLOCKS; i++)
			blocks[i] = malloc(64 + i % 8 * 64);
		for (unsigned i = 0; i < BLOCKS; i++)
			free(blocks[i]);
		before = cached();
		near_trim(0);
		made = count_of(PHASE_MADE, SYS_membarrier) - made;
		failed = count_of(PHASE_FAILED, SYS_membarrier) - failed;
		CHECK(made == 0 || failed < made || cached() >= before);
		CHECK(round < ROUNDS / 2 || made == 0 || cached() == 0);
	}
	expect_nothing_lost();
}

/* ---- several --------------------------------------------------------------------------------------------- */

struct hand {
	pthread_t thread;
	bool started, may_fail;
	unsigned long seed, refused;
	char stack[LEAST_STACK] __attribute__((aligned(4096)));
};

static struct hand hands[3];
enum { HANDS = sizeof(hands) / sizeof(hands[0]) };
static bool stay; /* they work until it is false */

static void *work(void *argument)
{
	struct hand *hand = argument;
	struct shadow s;

	shadow_open(&s, 400, 100000, hand->seed);
	s.may_fail = hand->may_fail;
	do
		shadow_steps(&s, 500);
	while (__atomic_load_n(&stay, __ATOMIC_RELAXED));
	hand->refused += s.failures;
	shadow_close(&s);
	return NULL;
}

/* What a thread needs of libc may be refused too. Its stack is ours, so that libc keeps none. */
static void start(struct hand *hand, bool may_fail)
{
	pthread_attr_t attributes;

	hand->may_fail = may_fail;
	CHECK(pthread_attr_init(&attributes) == 0);
	CHECK(pthread_attr_setstack(&attributes, hand->stack, sizeof(hand->stack)) == 0);
	hand->started = pthread_create(&hand->thread, &attributes, work, hand) == 0;
	pthread_attr_destroy(&attributes);
	CHECK(hand->started || may_fail);
}

static void start_all(bool may_fail)
{
	for (unsigned i = 0; i < HANDS; i++) {
		hands[i].seed = i + 1;
		start(&hands[i], may_fail);
	}
}

static void join_all(void)
{
	for (unsigned i = 0; i < HANDS; i++) {
		if (hands[i].started)
			thread_join(hands[i].thread);
		refused += hands[i].refused + !hands[i].started;
		hands[i].refused = 0;
	}
}

static void work_together(bool may_fail)
{
	start_all(may_fail);
	near_trim(0);
	join_all();
}

static void threads(void)
{
	begin();
	for (unsigned i = 0; i < 2; i++)
		work_together(true);
	end_of_faults();
	work_together(false);
	expect_nothing_lost();
}

/* ---- forks ------------------------------------------------------------------------------------------------ */

static void child(struct shadow *s, bool may_fail)
{
	alarm(20);
	s->may_fail = may_fail;
	shadow_verify(s);
	shadow_steps(s, 300);
	shadow_verify(s);
	expect_sound();
	_exit(0);
}

static void fork_once(struct shadow *s, bool may_fail)
{
	pid_t pid = fork();

	if (pid < 0) {
		CHECK(may_fail);
		return;
	}
	if (pid == 0)
		child(s, may_fail);
	expect_clean_exit(pid);
}

/* While others are under locks. */
static void forks(void)
{
	struct shadow s;

	shadow_open(&s, 400, 100000, 5);
	begin();
	s.may_fail = true;
	stay = true;
	start_all(true);
	for (unsigned i = 0; i < 8; i++) {
		shadow_steps(&s, 100);
		fork_once(&s, true);
	}
	__atomic_store_n(&stay, false, __ATOMIC_RELAXED);
	join_all();
	end_of_faults();
	s.may_fail = false;
	shadow_verify(&s);
	shadow_steps(&s, 300);
	fork_once(&s, false);
	refused += s.failures;
	shadow_close(&s);
	expect_nothing_lost();
}

/* ---- near_* ------------------------------------------------------------------------------------------------ */

static int visit(const struct near_range *range, void *argument)
{
	*(size_t *)argument += range->bytes;
	free(malloc(100));
	return 0;
}

static void ask_everything(bool may_fail)
{
	size_t counts[1024], walked = 0;
	struct near_residence residence;
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	char *block = near_malloc_on_node(100000, 0), *other;

	CHECK(block || (may_fail && errno == ENOMEM));
	if (block) {
		memset(block, 1, 100000);
		CHECK(near_node_resident(block, 100000, counts) == 0 || may_fail);
		other = near_realloc_on_node(block, 3u << 20, 0);
		CHECK(other || (may_fail && errno == ENOMEM));
		block = other ? other : block;
		CHECK(block[0] == 1 && block[99999] == 1);
		free(block);
	}
	CHECK(near_node_sample(0, 100, counts) == 0 || may_fail);
	CHECK(near_residence(&residence, sizeof(residence)) == 0 || may_fail);
	CHECK(near_report(null) == 0 || may_fail);
	CHECK(near_walk(visit, &walked) == 0 && (walked > 0 || may_fail));
	near_trim(0);
	close(null);
}

static void figures(void)
{
	struct shadow s;

	shadow_open(&s, 300, 600000, 23);
	begin();
	s.may_fail = true;
	shadow_steps(&s, 300);
	ask_everything(true);
	end_of_faults();
	s.may_fail = false;
	shadow_verify(&s);
	ask_everything(false);
	refused += s.failures;
	shadow_close(&s);
	expect_nothing_lost();
}

static const struct test_case cases[] = {
	{"small", small},     {"middle", middle}, {"large", large},	{"resize", resize}, {"give_back", give_back},
	{"together", together},
	{"threads", threads}, {"forks", forks},	  {"figures", figures}, {"fences", fences},
};

int main(int argc, char **argv)
{
	int status = RUN_CASE(argc, argv, cases);

	return status == 0 && refused ? 3 : status;
}
