/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Memory that ends: limits of address space, data and locked memory, from the start or lowered at run time, and the
 * kernel's bound on mappings.
 *
 * What every case checks: a refusal is NULL with ENOMEM and loses nothing; free works without memory; afterwards
 * there is as much to be had as before.
 */
#include <sys/resource.h>

#include "shadow.h"
#include "threads.h"

/* Blocks on a list through themselves, so that counting them needs no memory. */
struct link {
	struct link *next;
	size_t size;
	uint64_t mark;
};

struct pile {
	struct link *top;
	size_t count, bytes;
};

static bool pile_add(struct pile *pile, size_t size)
{
	struct link *link;

	errno = 0;
	link = opaque(malloc(size));
	if (link == NULL) {
		CHECK(errno == ENOMEM);
		return false;
	}
	memset(link, 0x3c, size);
	*link = (struct link){.next = pile->top, .size = size, .mark = (uintptr_t)link ^ size};
	pile->top = link;
	pile->count++;
	pile->bytes += size;
	return true;
}

static void link_verify(const struct link *link)
{
	const unsigned char *bytes = (const unsigned char *)link;

	CHECK(link->mark == ((uintptr_t)link ^ link->size));
	for (size_t i = sizeof(*link); i < link->size; i += i < 64 ? 1 : 512)
		CHECK(bytes[i] == 0x3c);
}

static void pile_drop(struct pile *pile)
{
	while (pile->top != NULL) {
		struct link *link = pile->top;

		link_verify(link);
		pile->top = link->next;
		errno = 4711;
		free(link);
		CHECK(errno == 4711);
	}
	pile->count = pile->bytes = 0;
}

/* Every way to ask is refused alike, or serves. */
static void ask_in_every_way(size_t size)
{
	struct block b = {.size = size};
	void *p = NULL;

	errno = 0;
	CHECK((p = calloc(1, size)) != NULL || errno == ENOMEM);
	free(p);
	CHECK((p = aligned_alloc(64, size)) != NULL || errno == ENOMEM);
	free(p);
	CHECK((p = memalign(2u << 20, size)) != NULL || errno == ENOMEM);
	free(p);
	p = NULL;
	CHECK(posix_memalign(&p, 4096, size) == 0 || p == NULL);
	free(p);
	CHECK((p = pvalloc(size)) != NULL || errno == ENOMEM);
	free(p);
	b.ptr = malloc(64);
	if (b.ptr != NULL) {
		b.size = size < 64 ? size : 64;
		block_fill(&b, 1);
		p = realloc(b.ptr, size);
		CHECK(p != NULL || errno == ENOMEM);
		b.ptr = p != NULL ? p : b.ptr;
		block_verify(&b);
		free(b.ptr);
	}
	CHECK(malloc((size_t)1 << 46) == NULL && errno == ENOMEM);
}

static const size_t fill_sizes[] = {24, 1000, 40000, 300000, 3u << 20};
enum { FILL_SIZES = sizeof(fill_sizes) / sizeof(fill_sizes[0]) };

/* At least `share` bytes of each size can be had in turn, and, where it is not much, the second time as well. */
static void fill_and_recover(size_t share, size_t bound)
{
	struct pile pile = {.top = NULL};

	for (int round = bound > (150u << 20); round < 2; round++) {
		for (unsigned i = 0; i < FILL_SIZES; i++) {
			while (pile.bytes < bound && pile_add(&pile, fill_sizes[i]))
				continue;
			if (pile.bytes < share)
				fprintf(stderr, "round %d: %zu bytes of %zu-byte blocks\n", round, pile.bytes,
					fill_sizes[i]);
			CHECK(pile.bytes >= share);
			ask_in_every_way(fill_sizes[i]);
			pile_drop(&pile);
		}
	}
}

static rlim_t limit_lower(int which, rlim_t soft)
{
	struct rlimit limit;
	rlim_t before;

	CHECK(getrlimit(which, &limit) == 0);
	before = limit.rlim_cur;
	limit.rlim_cur = soft < limit.rlim_max ? soft : limit.rlim_max;
	CHECK(setrlimit(which, &limit) == 0);
	return before;
}

/* Run under a limit of the address space (argv[2] MiB) that was there from the start. */
static size_t given_mib;

static void address_space(void)
{
	CHECK(given_mib > 0);
	fill_and_recover((given_mib << 20) * 45 / 100, given_mib << 20);
}

static void *shadow_thread(void *arg)
{
	struct shadow s;

	shadow_open(&s, 300, 1u << 20, (uint64_t)(uintptr_t)arg);
	s.may_fail = true;
	shadow_steps(&s, 20000);
	shadow_close(&s);
	return NULL;
}

/* Threads under a tight limit: refusals are fine, damage is not. */
static void threads_in_little(void)
{
	pthread_t threads[8];
	int started = 0;

	while (started < 8 &&
	       thread_try(&threads[started], 131072, shadow_thread, (void *)(uintptr_t)(started + 1)) == 0)
		started++;
	CHECK(started > 0);
	for (int i = 0; i < started; i++)
		thread_join(threads[i]);
	fill_and_recover(given_mib << 18, given_mib << 20);
}

static void lower_at_run_time(int which, const char *line)
{
	struct pile pile = {.top = NULL};
	struct shadow s;
	rlim_t before;

	shadow_open(&s, 300, 1u << 20, 8);
	for (int i = 0; i < 50000; i++)
		CHECK(pile_add(&pile, 1000));
	for (int i = 0; i < 20; i++)
		CHECK(pile_add(&pile, 2u << 20));
	before = limit_lower(which, (rlim_t)status_kib(line) * 1024 + (1u << 20));
	s.may_fail = true;
	shadow_steps(&s, 30000);
	for (unsigned i = 0; i < FILL_SIZES; i++) {
		while (pile.bytes < (1u << 30) && pile_add(&pile, fill_sizes[i]))
			continue;
		ask_in_every_way(fill_sizes[i]);
	}
	CHECK(pile.bytes < (1u << 30));
	/* below what is in use: nothing new can be mapped at all */
	limit_lower(which, 4096);
	shadow_steps(&s, 3000);
	ask_in_every_way(100);
	ask_in_every_way(1u << 20);
	malloc_trim(0);
	pile_drop(&pile);
	shadow_steps(&s, 3000);
	/* what was freed can be had again, at least in part, though the kernel gives nothing */
	for (int i = 0; i < 100; i++)
		pile_add(&pile, 1000);
	pile_drop(&pile);
	limit_lower(which, before);
	s.may_fail = false;
	shadow_steps(&s, 10000);
	shadow_close(&s);
	fill_and_recover(20u << 20, 40u << 20);
}

static void address_space_lowered(void)
{
	lower_at_run_time(RLIMIT_AS, "VmSize:");
}

static void data_lowered(void)
{
	lower_at_run_time(RLIMIT_DATA, "VmData:");
}

/* Reservations must not count as data. */
static void data(void)
{
	limit_lower(RLIMIT_DATA, (rlim_t)status_kib("VmData:") * 1024 + (48u << 20));
	fill_and_recover(20u << 20, 200u << 20);
}

/* A limit set after the program has grown and shrunk. */
static void data_after_peak(void)
{
	fill_and_recover(100u << 20, 100u << 20);
	malloc_trim(0);
	limit_lower(RLIMIT_DATA, (rlim_t)status_kib("VmData:") * 1024 + (48u << 20));
	fill_and_recover(20u << 20, 200u << 20);
}

/* Splits mappings until the kernel refuses to keep more of them. */
static unsigned char *splits;
static size_t split_pages = 140000;

static unsigned split_all(void)
{
	unsigned made = 0;

	splits =
		mmap(NULL, split_pages * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	CHECK(splits != MAP_FAILED);
	for (size_t i = 1; i < split_pages; i += 2) {
		if (mprotect(splits + i * 4096, 4096, PROT_READ) != 0)
			break;
		made += 2;
	}
	return made;
}

static void mappings_end(void)
{
	struct pile pile = {.top = NULL};
	struct shadow s;

	shadow_open(&s, 500, 4u << 20, 21);
	shadow_steps(&s, 5000);
	for (int i = 0; i < 60; i++)
		CHECK(pile_add(&pile, 2u << 20));
	if (split_all() < 1000)
		skip("this kernel knows no bound on mappings");
	s.may_fail = true;
	shadow_steps(&s, 20000);
	for (unsigned i = 0; i < FILL_SIZES; i++) {
		while (pile.bytes < (400u << 20) && pile_add(&pile, fill_sizes[i]))
			continue;
		ask_in_every_way(fill_sizes[i]);
	}
	pile_drop(&pile);
	malloc_trim(0);
	shadow_steps(&s, 20000);
	munmap(splits, split_pages * 4096);
	s.may_fail = false;
	shadow_steps(&s, 10000);
	shadow_close(&s);
	fill_and_recover(20u << 20, 40u << 20);
}

/* As root: everything that is mapped is filled, so reservations must not be. */
static void locked_memory(void)
{
	long before, after;

	if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0)
		skip("mlockall is not permitted");
	before = rss_kib();
	free(opaque(malloc(1000)));
	fill_and_recover(64u << 20, 64u << 20);
	shadow_thread((void *)5);
	malloc_trim(0);
	after = rss_kib();
	if (after > before + 96 * 1024)
		fprintf(stderr, "%ld KiB grew to %ld\n", before, after);
	CHECK(before < 64 * 1024);
	CHECK(after < before + 96 * 1024);
}

/* mlockall late: what had been reserved must not be filled then. */
static void locked_late(void)
{
	long before;

	fill_and_recover(32u << 20, 32u << 20);
	malloc_trim(0);
	before = rss_kib();
	if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0)
		skip("mlockall is not permitted");
	CHECK(rss_kib() < before + 96 * 1024);
	fill_and_recover(32u << 20, 32u << 20);
}

/* An ordinary user's limit of locked memory: new mappings are refused with EAGAIN, which callers may not see. */
static void locked_memory_limit(void)
{
	struct shadow s;

	shadow_open(&s, 300, 1u << 20, 9);
	s.may_fail = true;
	limit_lower(RLIMIT_MEMLOCK, 24u << 20);
	if (geteuid() == 0)
		CHECK(setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0);
	if (mlockall(MCL_FUTURE) != 0)
		skip("mlockall is not permitted");
	fill_and_recover(2u << 20, 64u << 20);
	shadow_steps(&s, 20000);
	shadow_close(&s);
}

static const struct test_case cases[] = {
	{"address_space", address_space},
	{"threads_in_little", threads_in_little},
	{"address_space_lowered", address_space_lowered},
	{"data_lowered", data_lowered},
	{"data", data},
	{"data_after_peak", data_after_peak},
	{"mappings_end", mappings_end},
	{"locked_memory", locked_memory},
	{"locked_late", locked_late},
	{"locked_memory_limit", locked_memory_limit},
};

int main(int argc, char **argv)
{
	given_mib = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
	return RUN_CASE(argc, argv, cases);
}
