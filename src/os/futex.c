/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* The slow halves of the lock: spin briefly, then sleep; and, in debug builds, the check of its order. */
#include <linux/futex.h>

#include "base/lock.h"
#include "os/kernel.h"
#include "os/os.h"

enum { SPINS = 100 };

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
	for (;;) {
		uint32_t seen = load_relaxed(&lock->word);

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
 * The lock order is short: a thread holds at most one lock beside the drain mutex. Thread pointers hash into a
 * fixed table; two threads that meet in a slot would be confused, so a slot counts only for who claimed it.
 */
enum { SLOTS = 4096, MOST = 2 };

static struct {
	uintptr_t thread;
	int held;
} held[SLOTS];

static size_t slot_of(uintptr_t thread)
{
	return (thread >> 6) * 0x9e3779b97f4a7c15ull >> 52;
}

void near__lock_note_taken(const struct lock *lock)
{
	uintptr_t self = thread_pointer(), nobody = 0;
	size_t i = slot_of(self);

	if (load_relaxed(&held[i].thread) != self && !cas_relaxed(&held[i].thread, &nobody, self))
		return;
	if (++held[i].held > MOST)
		near__die("lock order: %p is taken by a thread that holds %d locks", (const void *)lock,
			  held[i].held - 1);
}

void near__lock_note_released(const struct lock *lock)
{
	uintptr_t self = thread_pointer();
	size_t i = slot_of(self);

	(void)lock;
	if (load_relaxed(&held[i].thread) == self && held[i].held > 0 && --held[i].held == 0)
		store_release(&held[i].thread, (uintptr_t)0);
}

void near__lock_forget_others(void)
{
	size_t own = slot_of(thread_pointer());

	for (size_t i = 0; i < SLOTS; i++) {
		if (i != own)
			held[i].thread = 0, held[i].held = 0;
	}
}

#endif
