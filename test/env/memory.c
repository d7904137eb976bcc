/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * How much is resident: beside what is in use, after it was freed, in a process that does nothing, and what explains it.
 *
 * The library is preloaded, so its own names are looked up.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "near/malloc.h"
#include "shadow.h"
#include "threads.h"

enum { KIB = 1 << 10, MIB = 1 << 20 };

static int (*residence)(struct near_residence *, size_t);
static int (*walk)(int (*)(const struct near_range *, void *), void *);
static size_t (*trim)(size_t);
static void (*on_limit)(void (*)(int, size_t, size_t, void *), void *);

static void *own(const char *name)
{
	void *symbol = dlsym(RTLD_DEFAULT, name);

	CHECK(symbol != NULL);
	return symbol;
}

static void find_names(void)
{
	*(void **)&residence = own("near_residence");
	*(void **)&walk = own("near_walk");
	*(void **)&trim = own("near_trim");
	*(void **)&on_limit = own("near_on_limit");
}

/* Exact, in KiB; without a call of malloc. */
static long rss(void)
{
	static char text[4096];
	int fd = open("/proc/self/smaps_rollup", O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, text, sizeof(text) - 1);

	close(fd);
	CHECK(n > 0);
	text[n] = '\0';
	CHECK(strstr(text, "\nRss:") != NULL);
	return atol(strstr(text, "\nRss:") + 5);
}

static void *table(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	CHECK(memory != MAP_FAILED);
	return memory;
}

static void expect_growth(const char *what, long before, long most)
{
	long after = rss();

	if (after > before + most)
		fprintf(stderr, "%s: %ld KiB grew to %ld, more than %ld\n", what, before, after, most);
	CHECK(after <= before + most);
}

/* ---- small processes, small objects, threads -------------------------------------------------------- */

static void million(void)
{
	enum { N = 1000000 };
	void **objects = table(N * sizeof(*objects));
	long before = rss();

	for (size_t i = 0; i < N; i++) {
		objects[i] = malloc(16);
		CHECK(objects[i] != NULL);
		memset(objects[i], 1, 16);
	}
	expect_growth("a million of 16 bytes", before, (long)(17.5 * N / KIB));
	for (size_t i = 0; i < N; i++)
		free(objects[i]);
}

static void *short_life(void *seed)
{
	void *mine[64];

	for (size_t i = 0; i < 64; i++) {
		mine[i] = malloc((i * 97 + (uintptr_t)seed) % 4000 + 1);
		CHECK(mine[i] != NULL);
		memset(mine[i], 1, 1);
	}
	for (size_t i = 0; i < 64; i++)
		free(mine[i]);
	return NULL;
}

static void some_threads(size_t n)
{
	for (size_t i = 0; i < n; i++) {
		pthread_t thread;

		CHECK(pthread_create(&thread, NULL, short_life, (void *)i) == 0);
		CHECK(pthread_join(thread, NULL) == 0);
	}
}

static void short_threads(void)
{
	long before;

	some_threads(16);
	before = rss();
	some_threads(2000);
	expect_growth("2000 short threads", before, MIB / KIB);
}

/* ---- a process that does nothing -------------------------------------------------------------------- */

/* With decay_ms:2000 all is done after 3 s without a call, half as much again; but the machine may be busy. */
enum { MANY = 100000, PATIENCE_MS = 20000 };

static void **objects;

static size_t size_of(size_t i)
{
	return i * 7919 % 3000 + 1;
}

static void *fill_all(void *unused)
{
	(void)unused;
	for (size_t i = 0; i < MANY; i++) {
		objects[i] = malloc(size_of(i));
		CHECK(objects[i] != NULL);
		memset(objects[i], (int)i, size_of(i));
	}
	return NULL;
}

static void free_from(size_t first, size_t last, size_t step)
{
	for (size_t i = first; i < last; i += step) {
		free(objects[i]);
		objects[i] = NULL;
	}
}

static void expect_contents(void)
{
	for (size_t i = 0; i < MANY; i++) {
		const unsigned char *object = objects[i];

		for (size_t at = 0; object != NULL && at < size_of(i); at++)
			CHECK(object[at] == (unsigned char)i);
	}
}

/* In bytes; what pages with a live object cannot be given back. */
static size_t pages_of_the_living(void)
{
	size_t pages = 0;
	uintptr_t last = 0;

	/* Objects of one span follow each other, so a page is met in a row or, by another class, in no other. */
	for (size_t i = 0; i < MANY; i++) {
		uintptr_t first = (uintptr_t)objects[i] / 4096, end = ((uintptr_t)objects[i] + size_of(i) - 1) / 4096;

		if (objects[i] == NULL)
			continue;
		pages += end - first + (first != last);
		last = end;
	}
	return pages * 4096;
}

static void run_thread(void *(*body)(void *))
{
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, body, NULL) == 0);
	CHECK(pthread_join(thread, NULL) == 0);
}

/* Nothing is called meanwhile but residence(), which does not touch what is looked at. `living`: bytes that may stay. */
static void wait_until_free(size_t living)
{
	struct near_residence r;

	for (unsigned ms = 0; ms < PATIENCE_MS; ms += 100) {
		nap_ms(100);
		CHECK(residence(&r, sizeof(r)) == 0);
		if (r.holes + r.free + r.kept == 0 && r.total <= living)
			return;
	}
	fprintf(stderr, "objects %lu, holes %lu, free %lu, kept %lu; all %lu, more than %zu\n", (unsigned long)r.objects,
		(unsigned long)r.holes, (unsigned long)r.free, (unsigned long)r.kept, (unsigned long)r.total, living);
	CHECK(!"free memory stays resident");
}

static void idle(void)
{
	objects = table(MANY * sizeof(*objects));
	run_thread(fill_all);
	free_from(0, MANY, 1);
	wait_until_free(3 * MIB);
}

/* The first tenth lives on: it lies together. */
static void survivors(void)
{
	size_t living;

	objects = table(MANY * sizeof(*objects));
	run_thread(fill_all);
	free_from(MANY / 10, MANY, 1);
	living = pages_of_the_living();
	wait_until_free(living + living / 10 + 3 * MIB);
	expect_contents();
}

/* One in twenty lives on, wherever it is. */
static void scattered(void)
{
	objects = table(MANY * sizeof(*objects));
	run_thread(fill_all);
	for (size_t i = 1; i < 20; i++)
		free_from(i, MANY, 20);
	wait_until_free(pages_of_the_living() + 3 * MIB);
	expect_contents();
	free_from(0, MANY, 20);
	wait_until_free(3 * MIB);
}

/* Without a thread: what is freed goes with the frees. */
static void alone(void)
{
	long before;

	objects = table(MANY * sizeof(*objects));
	before = rss();
	fill_all(NULL);
	free_from(0, MANY, 1);
	expect_growth("all freed by one thread", before, 6 * KIB);
}

/* Free pages lie between objects of other sizes; no time passes in which they would go by themselves. */
static void grow_into_holes(void)
{
	enum { OTHERS = 8000, SIZE = 8000 };
	void **others = table(OTHERS * sizeof(*others));
	long before;

	for (size_t i = 1; i < 20; i++)
		free_from(i, MANY, 20);
	before = rss();
	for (size_t i = 0; i < OTHERS; i++) {
		others[i] = malloc(SIZE);
		CHECK(others[i] != NULL);
		memset(others[i], 1, SIZE);
	}
	for (unsigned ms = 0; ms < PATIENCE_MS && rss() > before + 16 * KIB; ms += 100)
		nap_ms(100);
	expect_growth("objects of another size where others were", before, 16 * KIB);
	expect_contents();
}

static void regrown(void)
{
	objects = table(MANY * sizeof(*objects));
	run_thread(fill_all);
	grow_into_holes();
}

static void regrown_alone(void)
{
	objects = table(MANY * sizeof(*objects));
	fill_all(NULL);
	grow_into_holes();
}

/* ---- producers and consumers ------------------------------------------------------------------------ */

enum { RING = 4096 };

static void *_Atomic ring[RING];
static const size_t passed_size = 128;

static void *consume(void *count)
{
	while (ring[RING - 1] == NULL)
		sched_yield();
	for (size_t i = 0; i < (size_t)count; i++) {
		void *object;

		while ((object = ring[i % RING]) == NULL)
			sched_yield();
		ring[i % RING] = NULL;
		CHECK(*(size_t *)object == i);
		free(object);
	}
	return NULL;
}

/* Whatever the rate, beyond a full ring memory is bounded by what caches may hold: doc/memory.md. */
static void imbalance(void)
{
	size_t count = 10 * RING + scaled(1500000);
	pthread_t consumer;
	long before = 0;

	CHECK(pthread_create(&consumer, NULL, consume, (void *)count) == 0);
	for (size_t i = 0; i < count; i++) {
		size_t *object = malloc(passed_size);

		CHECK(object != NULL);
		*object = i;
		while (ring[i % RING] != NULL)
			sched_yield();
		ring[i % RING] = object;
		if (i == count / 10)
			before = rss();
	}
	CHECK(pthread_join(consumer, NULL) == 0);
	expect_growth("producer and consumer", before, 512);
}

/* ---- limits ------------------------------------------------------------------------------------------ */

static int told;
static void *reserve;

static void let_go(int limit, size_t footprint, size_t wanted, void *argument)
{
	CHECK(argument == &told);
	CHECK(footprint > 0 && wanted > 0);
	told |= limit;
	free(reserve);
	reserve = NULL;
}

static size_t allocate_until_refused(size_t size, size_t most)
{
	size_t n = 0;
	void **last = NULL, **next;

	while (n < most && (next = malloc(size)) != NULL) {
		memset(next, 1, size);
		*next = last;
		last = next;
		n++;
	}
	CHECK(n == most || errno == ENOMEM);
	for (; last != NULL; last = next) {
		next = *last;
		free(last);
	}
	return n;
}

/* Under limit_hard:64M. */
static void hard(void)
{
	long before = rss();

	for (int round = 0; round < 3; round++) {
		for (size_t size = 64; size <= 4 << 20; size *= 16) {
			size_t got = allocate_until_refused(size, 1u << 30) * size;

			CHECK(got > 40u << 20 && got <= 64u << 20);
			expect_growth("at the hard limit", before, 66 * KIB);
		}
	}
	CHECK(malloc(65u << 20) == NULL && errno == ENOMEM);
	CHECK(malloc(1u << 20) != NULL);
}

/* Under limit_hard:8M: blocks that lie far apart, one after the other, leave no more than their part of the page map. */
static void apart(void)
{
	for (int round = 0; round < 100; round++) {
		void *far = aligned_alloc((size_t)1 << 31, 100000), *near = malloc(1000);

		CHECK(far && near);
		free(far);
		free(near);
	}
}

/* Under limit_soft:32M,limit_hard:64M: the program is told of both, and what it frees counts at once. */
static void callback(void)
{
	reserve = malloc(8u << 20);
	memset(reserve, 1, 8u << 20);
	on_limit(let_go, &told);
	allocate_until_refused(100000, 1u << 20);
	CHECK(told == (NEAR_LIMIT_SOFT | NEAR_LIMIT_HARD));
	CHECK(reserve == NULL);
	on_limit(NULL, NULL);
	told = 0;
	allocate_until_refused(100000, 1u << 20);
	CHECK(told == 0);
}

/* Blocks that are larger than the limit and what is allowed on top, by one thread or by many at once. */
static void *beyond(void *size)
{
	for (int i = 0; i < 200; i++) {
		char *p = malloc((size_t)(uintptr_t)size << 20), *q;

		CHECK(p != NULL);
		q = realloc(p, (size_t)(uintptr_t)size << 21);
		CHECK(q != NULL);
		free(q);
	}
	return NULL;
}

static void grow_beyond(void)
{
	pthread_t threads[4];

	beyond((void *)100);
	for (uintptr_t i = 0; i < 4; i++)
		threads[i] = thread_start(beyond, (void *)(2 + 20 * i));
	for (int i = 0; i < 4; i++)
		thread_join(threads[i]);
}

/* Under limit_soft:32M: it grows beyond, but gives back first what it need not have. */
static void soft(void)
{
	grow_beyond();
	objects = table(MANY * sizeof(*objects));
	fill_all(NULL);
	expect_contents();
	CHECK(rss() > 100 * KIB);
	free_from(0, MANY, 1);
}

/* Under initial_pool:16M. */
static void pool(void)
{
	struct near_residence r;

	CHECK(residence(&r, sizeof(r)) == 0);
	if (r.free < 15 * MIB || r.free >= 20 * MIB)
		fprintf(stderr, "%lu bytes lie ready\n", (unsigned long)r.free);
	CHECK(r.free >= 15 * MIB && r.free < 20 * MIB);
	objects = table(MANY * sizeof(*objects));
	fill_all(NULL);
	free_from(0, MANY, 1);
	CHECK(residence(&r, sizeof(r)) == 0);
	CHECK(r.free >= 12 * MIB);
	trim(0);
	CHECK(residence(&r, sizeof(r)) == 0);
	CHECK(r.free < 1 * MIB);
}

/* ---- large blocks, walkers --------------------------------------------------------------------------- */

static void storm(void)
{
	struct rusage from, to;

	for (size_t size = 2 << 20; size <= 48 << 20; size *= 2)
		free(memset(malloc(size), 1, size));
	for (size_t size = 1 << 20; size <= 32 << 20; size *= 2) {
		free(memset(malloc(size), 1, size));
		getrusage(RUSAGE_SELF, &from);
		for (int i = 0; i < 200; i++)
			free(memset(opaque(malloc(size)), i, size > 65536 ? 65536 : size));
		getrusage(RUSAGE_SELF, &to);
		CHECK(to.ru_minflt - from.ru_minflt < 600);
	}
}

static int read_all(const struct near_range *range, void *sum)
{
	for (size_t at = 0; range->kind != NEAR_RANGE_METADATA && at < range->bytes; at += 4096)
		*(volatile size_t *)sum += ((const volatile char *)range->start)[at];
	return 0;
}

static bool _Atomic stop;

static void *walk_on(void *unused)
{
	size_t sum = 0;

	(void)unused;
	while (!stop)
		CHECK(walk(read_all, &sum) == 0);
	return NULL;
}

static void *trim_on(void *unused)
{
	(void)unused;
	while (!stop) {
		trim(0);
		nap_ms(1);
	}
	return NULL;
}

/* Walkers, unmapping and load together; decay_ms is short. */
static void walkers(void)
{
	void *(*bodies[])(void *) = {walk_on, walk_on, trim_on};
	pthread_t threads[3];
	struct shadow s;

	shadow_open(&s, 300, 8u << 20, 5);
	for (int i = 0; i < 3; i++)
		CHECK(pthread_create(&threads[i], NULL, bodies[i], NULL) == 0);
	for (uint64_t end = now_ns() + 4000000000u; now_ns() < end;)
		shadow_steps(&s, 50);
	stop = true;
	for (int i = 0; i < 3; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
	shadow_close(&s);
}

static const struct test_case cases[] = {
	{"million", million},	    {"short_threads", short_threads}, {"idle", idle},
	{"survivors", survivors},   {"scattered", scattered},	      {"alone", alone},
	{"imbalance", imbalance},   {"hard", hard},		      {"callback", callback},
	{"soft", soft},		    {"pool", pool},		      {"storm", storm},
	{"walkers", walkers},	    {"apart", apart},		      {"regrown", regrown},
	{"regrown_alone", regrown_alone},
};

int main(int argc, char **argv)
{
	find_names();
	return RUN_CASE(argc, argv, cases);
}
