/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * What tracer.c traces: a worker that goes through all functions that contain critical sections, and a helper.
 *
 * Worker, helper and signal handler keep a list each of the blocks they own. A block is full of a pattern of its own, so
 * one that two own is noticed; the bytes of all blocks are what near_stats must call allocated, so one that nobody owns
 * is too. A block leaves its list before it is freed and enters it after it was allocated: whoever looks at the lists
 * while the worker stands still sees only blocks that are owned.
 */
#include <dlfcn.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>

#include <near/malloc.h>

#include "machine.h"
#include "shadow.h"
#include "share.h"
#include "threads.h"

#pragma weak near_aligned_alloc_on_node
#pragma weak near_calloc_on_node
#pragma weak near_malloc_on_node
#pragma weak near_max_node
#pragma weak near_realloc_on_node
#pragma weak near_stats
#pragma weak near_trim

enum { BLOCKS = 1500, ACTS = 60, BURST = 400, BURST_BYTES = 1 << 19, CHILD_BLOCKS = 300, ERRAND_BLOCKS = 40 };

static const size_t sizes[] = {16, 64, 100, 256, 1000, 4096, 20000, 40000};
enum { SIZES = sizeof(sizes) / sizeof(sizes[0]) };

struct list {
	struct block block[BLOCKS];
	unsigned count; /* those behind are not in use, those before may be holes */
};

static struct list workers, helpers, handlers, childs;
static struct list *const lists[] = {&workers, &helpers, &handlers};
enum { LISTS = sizeof(lists) / sizeof(lists[0]) };

static struct share *share;
static int (*near_checker)(void);
static bool is_child;
static size_t base; /* allocated before there was any block */
static uint64_t chance;
/* What the worker is at. */
static volatile size_t size_now;
static volatile int node_now;

/* ---- allocating and freeing ------------------------------------------------------------------------- */

static size_t some_alignment(void)
{
	return (size_t)8 << random_below(&chance, 6);
}

static void *obtain(struct block *b)
{
	size_t size = b->asked;

	b->alignment = 16;
	switch (random_below(&chance, 11)) {
	case 0:
		return calloc(1, size);
	case 1:
		return realloc(NULL, size);
	case 2:
		return aligned_alloc(b->alignment = some_alignment(), size);
	case 3:
		return cxx_new(size);
	case 4:
		return cxx_new_nothrow(size, NULL);
	case 5:
		return cxx_new_aligned(size, b->alignment = some_alignment());
	case 6:
		return near_malloc_on_node(size, node_now);
	case 7:
		return near_calloc_on_node(1, size, node_now);
	case 8:
		return near_aligned_alloc_on_node(b->alignment = some_alignment(), size, node_now);
	default:
		return malloc(size);
	}
}

static void give_back(const struct block *b)
{
	switch (random_below(&chance, 12)) {
	case 0:
		return free_sized(b->ptr, b->asked);
	case 1:
		return free_aligned_sized(b->ptr, b->alignment, b->asked);
	case 2:
		return cfree(b->ptr);
	case 3:
		return cxx_delete(b->ptr);
	case 4:
		return cxx_delete_sized(b->ptr, b->asked);
	case 5:
		return cxx_delete_nothrow(b->ptr, NULL);
	case 6:
		return cxx_delete_aligned(b->ptr, b->alignment);
	case 7:
		return cxx_delete_sized_aligned(b->ptr, b->asked, b->alignment);
	case 8:
		return cxx_delete_aligned_nothrow(b->ptr, b->alignment, NULL);
	case 9:
		CHECK(realloc(b->ptr, 0) == NULL);
		return;
	default:
		return free(b->ptr);
	}
}

static void own(struct list *list, unsigned i, struct block *b)
{
	CHECK(b->ptr != NULL);
	CHECK((uintptr_t)b->ptr % b->alignment == 0);
	b->size = b->asked;
	block_fill(b, random_next(&chance));
	list->block[i] = *b;
	if (i == list->count)
		list->count++;
}

/* Into slot i, a hole or the end. */
static void take_into(struct list *list, unsigned i, size_t size)
{
	struct block b = {.asked = size};

	b.ptr = opaque(obtain(&b));
	own(list, i, &b);
}

static bool take(struct list *list, size_t size)
{
	unsigned i = 0;

	while (i < list->count && list->block[i].ptr != NULL)
		i++;
	if (i == BLOCKS)
		return false;
	take_into(list, i, size);
	return true;
}

/* Verifies a block and takes it off the list. */
static struct block disown(struct list *list, unsigned i)
{
	struct block b = list->block[i];

	block_verify(&b);
	list->block[i].ptr = NULL;
	return b;
}

static void release(struct list *list, unsigned i)
{
	if (i < list->count && list->block[i].ptr != NULL) {
		struct block b = disown(list, i);

		give_back(&b);
	}
}

/* Any one, or the next. */
static void release_one(struct list *list)
{
	unsigned at = list->count ? (unsigned)random_below(&chance, list->count) : 0;

	for (unsigned i = 0; i < list->count; i++) {
		unsigned j = (at + i) % list->count;

		if (list->block[j].ptr != NULL)
			return release(list, j);
	}
}

static void release_all(struct list *list)
{
	for (unsigned i = 0; i < list->count; i++)
		release(list, i);
	list->count = 0;
}

static void resize(struct list *list, unsigned i, size_t size)
{
	struct block b, kept;

	if (i >= list->count || list->block[i].ptr == NULL)
		return;
	b = disown(list, i);
	kept = b;
	b.ptr = random_below(&chance, 2) ? realloc(b.ptr, size) : near_realloc_on_node(b.ptr, size, node_now);
	CHECK(b.ptr != NULL);
	kept.ptr = b.ptr;
	kept.size = (kept.size < size ? kept.size : size) & ~(size_t)7;
	if (kept.size > FULLY_FILLED)
		kept.size = FULLY_FILLED;
	block_verify(&kept);
	b.asked = size;
	b.alignment = 16;
	own(list, i, &b);
}

/* ---- each block in one place ------------------------------------------------------------------------ */

static void verify_all(void)
{
	for (unsigned k = 0; k < LISTS; k++) {
		for (unsigned i = 0; i < lists[k]->count; i++) {
			if (lists[k]->block[i].ptr != NULL) {
				block_verify(&lists[k]->block[i]);
				share->blocks++;
			}
		}
	}
}

static size_t owned_bytes(void)
{
	size_t bytes = 0;

	for (unsigned k = 0; k < LISTS; k++) {
		for (unsigned i = 0; i < lists[k]->count; i++) {
			if (lists[k]->block[i].ptr != NULL)
				bytes += malloc_usable_size(lists[k]->block[i].ptr);
		}
	}
	return bytes;
}

static size_t allocated(void)
{
	struct near_stats stats;

	CHECK(near_stats(&stats, sizeof(stats)) == 0);
	CHECK(stats.mode == NEAR_MODE_RSEQ);
	return stats.allocated;
}

/* `lost`: bytes that may be in nobody's hands. */
static void check_totals(size_t lost)
{
	size_t bytes = allocated(), owned = base + owned_bytes();
	char text[120];

	if (bytes >= owned && bytes - owned <= lost)
		return;
	snprintf(text, sizeof(text), "%zu bytes are allocated, %zu are owned\n", bytes, owned);
	say(2, text);
	abort();
}

static void check_everything(size_t lost)
{
	verify_all();
	check_totals(lost);
	if (near_checker != NULL) {
		CHECK(near_checker() == 0);
		share->checks++;
	}
}

/* ---- the worker ------------------------------------------------------------------------------------- */

static void act(void)
{
	size_t size = random_below(&chance, 4) ? size_now : sizes[random_below(&chance, SIZES)];

	switch (random_below(&chance, 5)) {
	case 0:
	case 1:
		take(&workers, size);
		break;
	case 2:
		resize(&workers, (unsigned)random_below(&chance, BLOCKS / 4), size);
		break;
	default:
		release_one(&workers);
	}
}

/* Empties magazines and fills others. */
static void burst(void)
{
	size_t most = BURST_BYTES / size_now;
	unsigned count = (unsigned)random_below(&chance, most < BURST ? most : BURST), first = workers.count;

	if (first + count > BLOCKS)
		return;
	for (unsigned i = 0; i < count; i++)
		take_into(&workers, first + i, size_now);
	for (unsigned i = 0; i < count; i++)
		release(&workers, first + i);
	workers.count = first;
}

static void tour(void)
{
	chance = share->seed;
	size_now = sizes[random_below(&chance, SIZES)];
	node_now = (int)random_below(&chance, (uint64_t)near_max_node() + 1);
	for (int i = 0; i < ACTS; i++) {
		act();
		if (random_below(&chance, ACTS) == 0)
			burst();
	}
	burst();
	if (workers.count > BLOCKS / 5 || random_below(&chance, 16) == 0)
		release_all(&workers);
	if (random_below(&chance, 16) == 0)
		near_trim(0);
}

static void mingle(struct list *list)
{
	unsigned acts = 1 + (unsigned)random_below(&chance, 6);

	for (; list->count >= ERRAND_BLOCKS; list->count--)
		release(list, list->count - 1);
	for (unsigned i = 0; i < acts; i++) {
		if (random_below(&chance, 2))
			take(list, size_now);
		else
			release_one(list);
	}
}

static void on_signal(int number, siginfo_t *info, void *context)
{
	uint64_t kept = chance;

	(void)number, (void)info;
	share->interrupted = machine_interrupted(context);
	share->handled++;
	chance ^= share->handled * 0x9e3779b97f4a7c15u;
	mingle(&handlers);
	if (share->errand == ERRAND_CHILD) {
		pid_t child = fork();

		CHECK(child >= 0);
		is_child = child == 0;
		if (!is_child)
			expect_clean_exit(child);
	}
	chance = kept;
}

/* ---- the helper ------------------------------------------------------------------------------------- */

/* What the worker may have in its hands: an object and three magazines. */
static size_t in_hands(void)
{
	return (3 * 255 + 1) * (size_now + size_now / 4 + 64) + 2 * sizes[SIZES - 1];
}

/* The only thread of a child that was made while the worker stood where it stands. */
static void look_as_a_child(void)
{
	check_everything(in_hands());
	for (unsigned i = 0; i < CHILD_BLOCKS && i < BURST_BYTES / size_now; i++)
		take(&childs, size_now);
	verify_all();
	release_all(&childs);
	for (unsigned k = 0; k < LISTS; k++)
		release_all(lists[k]);
	near_trim(0);
	check_everything(in_hands());
	_exit(0);
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	CHECK(sched_setaffinity(0, sizeof(set), &set) == 0);
}

static void do_errand(void)
{
	uint64_t kept = chance;
	pid_t child;

	pin(share->cpu);
	chance += share->asked;
	switch ((enum errand)share->errand) {
	case ERRAND_RIVAL:
		mingle(&helpers);
		break;
	case ERRAND_DRAIN:
		near_trim(0);
		break;
	case ERRAND_FORK:
		mingle(&helpers);
		child = fork();
		CHECK(child >= 0);
		if (child == 0)
			look_as_a_child();
		expect_clean_exit(child);
		break;
	case ERRAND_POP:
		take(&helpers, size_now);
		break;
	case ERRAND_PUSH:
		release_one(&helpers);
		break;
	case ERRAND_CHILD:
	case ERRAND_NONE:
		break;
	}
	chance = kept;
}

static void *help(void *unused)
{
	for (uint32_t done = 0;; done++) {
		share_tell(&share->done, done);
		share_wait(&share->asked, done, INT_MAX);
		do_errand();
	}
	return unused;
}

int main(void)
{
	struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	share = mmap(NULL, sizeof(*share), PROT_READ | PROT_WRITE, MAP_SHARED, SHARE_FD, 0);
	CHECK(share != MAP_FAILED);
	CHECK(near_version != NULL && sigaction(SIGUSR1, &action, NULL) == 0);
	*(void **)&near_checker = dlsym(RTLD_DEFAULT, "near_check");
	thread_start(help, NULL);
	base = allocated();
	while (!is_child) {
		CHECK(syscall(SYS_tgkill, getpid(), getpid(), SIGTRAP) == 0); /* the tracer sets the seed */
		tour();
		check_everything(0);
	}
	_exit(0);
}
