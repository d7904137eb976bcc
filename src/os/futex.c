/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* The slow halves of the lock: spin briefly, then sleep; and, in debug builds, the check of its order. */
#include <linux/futex.h>
#include <sys/mman.h>

#include "base/lock.h"
#include "os/kernel.h"
#include "os/os.h"

enum { SPINS = 100 };

bool (*near__os_holds_a_lock)(void);
void (*near__os_after_fork)(void);

uint32_t near__survivor;
static uint32_t forker; /* who forked last; with several at it at once it may be the wrong one */
static uint32_t never_wiped = FORK_MENDED;
uint32_t *near__fork_mark = &never_wiped;

void near__os_mark_forks(void)
{
	uint32_t *page = near__os_map_guarded(near__os_page_size);

	if (!page)
		return;
	if (KERNEL(SYS_madvise, page, near__os_page_size, MADV_WIPEONFORK)) {
		near__os_discard_guarded(page, near__os_page_size);
		return;
	}
	*page = FORK_MENDED;
	store_release(&near__fork_mark, page);
}

void near__os_forking(void)
{
	store_relaxed(&forker, lock_self());
}

/* The survivor is the child's main thread. Any other can only know it from what was noted before the fork. */
static void mend(uint32_t self)
{
	near__survivor = KERNEL(SYS_gettid) == KERNEL(SYS_getpid) ? self : load_relaxed(&forker);
	near__os_after_fork();
}

bool near__lock_mend(uint32_t self)
{
	uint32_t seen = 0;

	if (cas_acq_rel(near__fork_mark, &seen, self)) {
		mend(self);
		store_release(near__fork_mark, FORK_MENDED);
		return true;
	}
	if (seen == self)
		return false;
	while (load_acquire(near__fork_mark) != FORK_MENDED)
		KERNEL(SYS_sched_yield);
	return true;
}

void near__os_forked(void)
{
	if (near__fork_mark == &never_wiped)
		mend(lock_self()); /* an old kernel: as early as a handler can */
	else if (load_acquire(near__fork_mark) != FORK_MENDED)
		near__lock_mend(lock_self());
}

static bool spin(struct lock *lock, uint32_t self)
{
	for (int i = 0; i < SPINS; i++) {
		uint32_t free = 0;

		if (!load_relaxed(&lock->word) && cas_acquire(&lock->word, &free, self)) /* L1 */
			return true;
		cpu_relax();
	}
	return false;
}

bool near__lock_wait(struct lock *lock, uint32_t self)
{
	if (lock_is_mine(lock))
		return false;
	if (spin(lock, self))
		return true;
	if (near__os_holds_a_lock && near__os_holds_a_lock())
		return false;
	for (;;) {
		uint32_t seen = load_relaxed(&lock->word);

		if (load_relaxed(near__fork_mark) != FORK_MENDED && !near__lock_mend(self))
			return false; /* a handler that interrupted us forked, and we are in the child */
		if (!seen) {
			/* Others may sleep behind us: take it as contended, at the price of one wake too many. */
			if (cas_acquire(&lock->word, &seen, self | LOCK_SLEEPERS)) /* L1 */
				return true;
			continue;
		}
		if (!(seen & LOCK_SLEEPERS) && !cas_relaxed(&lock->word, &seen, seen | LOCK_SLEEPERS))
			continue;
		KERNEL(SYS_futex, &lock->word, FUTEX_WAIT_PRIVATE, seen | LOCK_SLEEPERS, 0);
	}
}

void near__lock_wake(struct lock *lock)
{
	KERNEL(SYS_futex, &lock->word, FUTEX_WAKE_PRIVATE, 1);
}

#if NEAR_DEBUG

/*
 * The lock order is short: a thread holds at most one lock beside the purge and the drain lock, and a signal handler that came under
 * these at most two more. Thread pointers hash into a fixed table of (thread, locks held) in one word, so that a
 * handler finds it consistent; a thread whose slot is in use by another is not counted.
 */
enum { SLOTS = 4096, MOST = 5, COUNT_BITS = 8, COUNT_MASK = (1 << COUNT_BITS) - 1 };

static uint64_t held[SLOTS];

static uint64_t *slot_of(uintptr_t thread)
{
	return &held[(thread >> 6) * 0x9e3779b97f4a7c15ull >> 52];
}

static void count(const struct lock *lock, int change)
{
	uintptr_t self = thread_pointer();
	uint64_t *slot = slot_of(self), seen = load_relaxed(slot), locks;

	do {
		locks = seen & COUNT_MASK;
		if (locks ? seen >> COUNT_BITS != self : change < 0)
			return;
		locks += (uint64_t)(int64_t)change;
	} while (!cas_relaxed(slot, &seen, (uint64_t)self << COUNT_BITS | locks));
	if (locks > MOST)
		near__die("lock order: %p is taken by a thread that holds %lu locks", (const void *)lock, locks - 1);
}

void near__lock_note_taken(const struct lock *lock)
{
	count(lock, 1);
}

void near__lock_note_released(const struct lock *lock)
{
	count(lock, -1);
}

void near__lock_forget_others(void)
{
	uint64_t *own = slot_of(thread_pointer());

	for (uint64_t *slot = held; slot < held + SLOTS; slot++) {
		if (slot != own)
			store_relaxed(slot, (uint64_t)0);
	}
}

#endif
