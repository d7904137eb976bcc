/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * pair_table: what one malloc and one free cost together, in one thread, by size, number of live objects, order of
 * freeing, and whether the program touches its objects (writes one word in each of their cache lines).
 *
 *     lifo      allocate all, free them newest first
 *     random    allocate all, free them in a random order
 *     replace   keep all alive; free one at random and allocate another in its place
 *
 * The time is the thread's own, that of the median of many short batches, so that what else the machine does counts
 * little; the least is told too. The first batches, with their page faults, do not count.
 */
#include "workload.h"

enum {
	MOST_LIVE = 1 << 16,
	ORDERS = 1 << 16, /* length of the table of random numbers, read in order: the prefetcher hides it */
	BATCHES = 31,
	LINE = 64,
	MOST_ROWS = 64,
};

enum order { LIFO, RANDOM, REPLACE };

static const char *const order_names[] = {"lifo", "random", "replace", NULL};

struct row {
	size_t size;
	uint32_t live;
	enum order order;
	bool touch;
};

static void *objects[MOST_LIVE];
static uint32_t victims[ORDERS]; /* random: whole permutations one after the other; replace: any */
static uint32_t victims_used;

/* ---- the rows ------------------------------------------------------------------------------------- */

static const char *rows[MOST_ROWS + 1];

static void add_row(struct row row)
{
	static char texts[MOST_ROWS][64];
	static unsigned n;

	snprintf(texts[n], sizeof(texts[n]), "size=%zu live=%u order=%s touch=%d", row.size, row.live,
		 order_names[row.order], row.touch);
	rows[n] = texts[n];
	n++;
}

static void make_rows(void)
{
	static const size_t sizes[] = {64, 256, 1024};
	static const uint32_t lives[] = {1, 32, 1024, 10000};

	for (unsigned s = 0; s < 3; s++) {
		for (unsigned l = 0; l < 4; l++) {
			/* Of one object there is one order only. */
			for (enum order order = LIFO; order <= (lives[l] == 1 ? LIFO : REPLACE); order++) {
				add_row((struct row){sizes[s], lives[l], order, false});
				add_row((struct row){sizes[s], lives[l], order, true});
			}
		}
	}
}

static struct row row_of_arguments(void)
{
	struct row row = {
		.size = number("size", 64),
		.live = (uint32_t)number("live", 1),
		.order = choice("order", order_names),
		.touch = number_or_0("touch", 0),
	};

	if (row.live > MOST_LIVE || row.size < sizeof(uint64_t))
		die("no such row");
	return row;
}

/* ---- the work ------------------------------------------------------------------------------------- */

static void make_victims(const struct row *row)
{
	uint64_t state = 0x9e3779b97f4a7c15;
	uint32_t i = 0;

	if (row->order == REPLACE) {
		for (; i < ORDERS; i++)
			victims[i] = random_below(&state, row->live);
		victims_used = ORDERS;
		return;
	}
	for (; i + row->live <= ORDERS; i += row->live) {
		for (uint32_t j = 0; j < row->live; j++) {
			uint32_t k = random_below(&state, j + 1);

			victims[i + j] = victims[i + k];
			victims[i + k] = j;
		}
	}
	victims_used = i;
}

#define INLINE static inline __attribute__((always_inline))

INLINE void *get(void *(*alloc)(size_t), size_t size, bool touch)
{
	char *object = alloc(size);

	if (touch) {
#pragma GCC unroll 16
		for (size_t i = 0; i < size; i += LINE)
			*(volatile uint64_t *)(object + i) = i;
	}
	return object;
}

/* One object alive: nothing to remember, and the loop is all that is added to the pair. */
INLINE void pairs(uint64_t n, size_t size, bool touch)
{
	void *(*alloc)(size_t) = bench_malloc;
	void (*release)(void *) = bench_free;

	while (n--)
		release(get(alloc, size, touch));
}

/* One pass over n objects, or for `replace` as many steps. */
INLINE void pass(enum order order, uint32_t n, const uint32_t *victim, size_t size, bool touch)
{
	void *(*alloc)(size_t) = bench_malloc;
	void (*release)(void *) = bench_free;

	if (order == REPLACE) {
		for (uint32_t i = 0; i < n; i++) {
			release(objects[victim[i]]);
			objects[victim[i]] = get(alloc, size, touch);
		}
		return;
	}
	for (uint32_t i = 0; i < n; i++)
		objects[i] = get(alloc, size, touch);
	if (order == LIFO) {
		for (uint32_t i = n; i-- > 0;)
			release(objects[i]);
		return;
	}
	for (uint32_t i = 0; i < n; i++)
		release(objects[victim[i]]);
}

INLINE void run_passes(const struct row *row, uint64_t passes, size_t size, bool touch)
{
	static uint32_t at; /* among the victims */

	if (row->live == 1) {
		pairs(passes, size, touch);
		return;
	}
	while (passes--) {
		pass(row->order, row->live, victims + at, size, touch);
		at = at + 2 * row->live > victims_used ? 0 : at + row->live;
	}
}

/* The usual sizes are constants here: a loop over the lines would measure how well its end is predicted. */
INLINE void run_sized(const struct row *row, uint64_t passes, bool touch)
{
	switch (row->size) {
	case 64:
		run_passes(row, passes, 64, touch);
		break;
	case 256:
		run_passes(row, passes, 256, touch);
		break;
	case 1024:
		run_passes(row, passes, 1024, touch);
		break;
	default:
		run_passes(row, passes, row->size, touch);
	}
}

static double pass_ns(const struct row *row, uint64_t passes)
{
	uint64_t start = thread_ns();

	if (row->touch)
		run_sized(row, passes, true);
	else
		run_sized(row, passes, false);
	return (double)(thread_ns() - start) / (double)(passes * row->live);
}

/* Objects that are alive together must not overlap, and keep what was written. */
static void check(const struct row *row)
{
	for (uint32_t i = 0; i < row->live; i++) {
		if (!objects[i])
			objects[i] = bench_malloc(row->size);
		memset(objects[i], (int)(i & 0xff), row->size);
		memcpy(objects[i], &i, sizeof(i));
	}
	for (uint32_t i = 0; i < row->live; i++) {
		const unsigned char *object = objects[i];

		if (memcmp(object, &i, sizeof(i)) || object[row->size - 1] != (i & 0xff))
			die("object %u was overwritten", i);
	}
}

static void fill(const struct row *row)
{
	for (uint32_t i = 0; i < row->live; i++)
		objects[i] = bench_malloc(row->size);
}

static void empty(const struct row *row)
{
	for (uint32_t i = 0; i < row->live; i++) {
		bench_free(objects[i]);
		objects[i] = NULL;
	}
}

static void run(void)
{
	double ns[BATCHES];
	struct row row = row_of_arguments();
	uint64_t batch_ns = scaled("batch_us", 1000, 500) * 1000, passes = 1;

	start();
	make_victims(&row);
	if (row.order == REPLACE)
		fill(&row);
	/* The warm-up, which also finds how many passes a batch takes. */
	while (pass_ns(&row, passes) * (double)(passes * row.live) < (double)batch_ns)
		passes *= 2;
	pass_ns(&row, passes);
	for (unsigned i = 0; i < BATCHES; i++)
		ns[i] = pass_ns(&row, passes);
	if (row.order != REPLACE)
		memset(objects, 0, sizeof(objects));
	check(&row);
	empty(&row);
	report("ns_per_pair", median(ns, BATCHES), "lower");
	report("ns_per_pair_least", ns[0], "lower");
	stop(0);
}

int main(int argc, char **argv)
{
	(void)argc;
	make_rows();
	return workload_main(argv, &(struct workload){"pair_table", rows, run});
}
