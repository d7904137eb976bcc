/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * The lock: one 32-bit word that names its owner.
 *
 *     31                    2   1   0
 *    +-----------------------+---+---+
 *    | thread pointer >> 11  | 1 | c |     c: somebody sleeps on the word
 *    +-----------------------+---+---+     0: free
 *
 * Naming the owner buys two things. A signal handler that finds its own thread there is told so instead of
 * waiting for ever, and the child of a fork can tell which locks died with their owners. Two thread pointers lie
 * at least a smallest stack apart; threads a multiple of 2 TiB apart would look like one, and be refused without
 * need, which every caller must be able to take anyway.
 *
 * Edges: L0 the release in lock_release pairs with L1 the acquire in lock_acquire.
 * Allowed in heap, meta (growth), the locked sections of arch/generic and the drain mutex; see doc/concurrency.md.
 */
#ifndef NEAR_BASE_LOCK_H
#define NEAR_BASE_LOCK_H

#include <stdbool.h>

#include "base/atomic.h"

#define LOCK_SLEEPERS 1u

struct lock {
	uint32_t word;
};

/*
 * A word that the kernel zeroes in the child of a fork (MADV_WIPEONFORK). At rest FORK_MENDED, while locks and what
 * they guard are being mended the thread that does it. The first lock that the child wants makes it mend all of them
 * first, so no lock of a living thread is ever mistaken for one of a dead one, whoever comes first: an earlier
 * library's fork handler, a thread that it started, or a signal handler.
 */
#define FORK_MENDED 1u
extern HIDDEN uint32_t *near__fork_mark;

/* Slow halves, in os/futex.c. */
bool near__lock_wait(struct lock *lock, uint32_t self);
/* Mends, or waits until it is done. False: a signal handler came under the mending. */
bool near__lock_mend(uint32_t self);
void near__lock_wake(struct lock *lock);

#if NEAR_DEBUG
void near__lock_note_taken(const struct lock *lock);
void near__lock_note_released(const struct lock *lock);
/* In the child of a fork: the other threads hold nothing any more. */
void near__lock_forget_others(void);
#else
#define near__lock_note_taken(lock)    ((void)0)
#define near__lock_note_released(lock) ((void)0)
#define near__lock_forget_others()     ((void)0)
#endif

ALWAYS_INLINE uint32_t lock_self(void)
{
	return (uint32_t)(thread_pointer() >> 11) << 2 | 2u;
}

/* Whether the calling thread (or one that looks like it) holds the lock. */
ALWAYS_INLINE bool lock_is_mine(const struct lock *lock)
{
	return (load_relaxed(&lock->word) & ~LOCK_SLEEPERS) == lock_self();
}

/* False: the calling thread holds it already, and nothing was done. Waits for others. */
ALWAYS_INLINE bool lock_acquire(struct lock *lock)
{
	uint32_t free = 0, self = lock_self();

	if (unlikely(load_relaxed(near__fork_mark) != FORK_MENDED) && !near__lock_mend(self))
		return false;
	if (unlikely(!cas_acquire(&lock->word, &free, self)) && !near__lock_wait(lock, self)) /* L1 */
		return false;
	near__lock_note_taken(lock);
	return true;
}

/* False: somebody, perhaps the calling thread, holds it. Never waits. */
ALWAYS_INLINE bool lock_try(struct lock *lock)
{
	uint32_t free = 0, self = lock_self();

	if (unlikely(load_relaxed(near__fork_mark) != FORK_MENDED) && !near__lock_mend(self))
		return false;
	if (!cas_acquire(&lock->word, &free, self)) /* L1 */
		return false;
	near__lock_note_taken(lock);
	return true;
}

ALWAYS_INLINE void lock_release(struct lock *lock)
{
	near__lock_note_released(lock);
	if (unlikely(exchange_release(&lock->word, 0) & LOCK_SLEEPERS)) /* L0 */
		near__lock_wake(lock);
}

/*
 * The one thread that came along into this child. It need not be the one that mends: that may be a thread of the
 * child's, perhaps with the stack, and so the thread pointer, of a dead one.
 */
extern uint32_t near__survivor;

ALWAYS_INLINE bool lock_is_survivors(const struct lock *lock)
{
	return (load_relaxed(&lock->word) & ~LOCK_SLEEPERS) == (near__survivor ? near__survivor : lock_self());
}

/*
 * In the child of a fork: takes over a lock whose owner did not come along. The caller mends what it guards and
 * releases it; a signal handler is refused until then.
 */
ALWAYS_INLINE bool lock_inherit(struct lock *lock)
{
	if (!load_relaxed(&lock->word) || lock_is_survivors(lock))
		return false;
	store_relaxed(&lock->word, lock_self());
	near__lock_note_taken(lock);
	return true;
}

#endif
