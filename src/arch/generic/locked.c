/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* The locked form of the critical sections. */
#include "arch/generic/locked.h"

static bool is_full(uintptr_t cursor)
{
	return (cursor & (MAGAZINE_BYTES - 1)) == MAGAZINE_TOP;
}

void *near__locked_pop(struct lock *lock, struct bin *bin)
{
	if (unlikely(!lock_acquire(lock)))
		return NULL;

	void *object = *(void **)bin->cursor;

	if (object)
		store_relaxed(&bin->cursor, bin->cursor - 8);
	lock_release(lock);
	return object;
}

bool near__locked_push(struct lock *lock, struct bin *bin, void *object)
{
	if (unlikely(!lock_acquire(lock)))
		return true;

	bool full = is_full(bin->cursor);

	if (!full) {
		uintptr_t above = bin->cursor + 8;

		*(void **)above = object;
		store_release(&bin->cursor, above);
	}
	lock_release(lock);
	return full;
}

uintptr_t near__locked_take_spare(struct lock *lock, struct bin *bin)
{
	if (unlikely(!lock_acquire(lock)))
		return SPARE_STUB;

	uintptr_t spare = bin->spare;

	if (spare > SPARE_STUB)
		store_relaxed(&bin->spare, SPARE_NONE);
	lock_release(lock);
	return spare;
}

bool near__locked_put_spare(struct lock *lock, struct bin *bin, uintptr_t cursor)
{
	if (unlikely(!lock_acquire(lock)))
		return false;

	bool room = bin->spare == SPARE_NONE;

	if (room)
		store_relaxed(&bin->spare, cursor);
	lock_release(lock);
	return room;
}

static uintptr_t exchange(struct lock *lock, struct bin *bin, uintptr_t cursor, bool when_full)
{
	if (unlikely(!lock_acquire(lock)))
		return 0;

	uintptr_t old = bin->cursor;

	if (bin->spare == SPARE_STUB || !(when_full ? is_full(old) : !*(void **)old))
		old = 0;
	else
		store_relaxed(&bin->cursor, cursor);
	lock_release(lock);
	return old;
}

uintptr_t near__locked_exchange_empty(struct lock *lock, struct bin *bin, uintptr_t cursor)
{
	return exchange(lock, bin, cursor, false);
}

uintptr_t near__locked_exchange_full(struct lock *lock, struct bin *bin, uintptr_t cursor)
{
	return exchange(lock, bin, cursor, true);
}
