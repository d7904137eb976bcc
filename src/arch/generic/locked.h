/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * The same six steps on a bin, under a lock of its table instead of a restartable sequence.
 *
 * Every step refuses, as it would at the stub, when the calling thread holds the lock already: that is a signal
 * handler which interrupted one of these functions. Each ends in one store, like the sections, so that the
 * child of a fork finds the bins consistent whoever died here. Blocking, except from a handler.
 */
#ifndef NEAR_ARCH_GENERIC_LOCKED_H
#define NEAR_ARCH_GENERIC_LOCKED_H

#include "arch/sections.h"
#include "base/lock.h"

void *near__locked_pop(struct lock *lock, struct bin *bin);
bool near__locked_push(struct lock *lock, struct bin *bin, void *object);
uintptr_t near__locked_take_spare(struct lock *lock, struct bin *bin);
bool near__locked_put_spare(struct lock *lock, struct bin *bin, uintptr_t cursor);
uintptr_t near__locked_exchange_empty(struct lock *lock, struct bin *bin, uintptr_t cursor);
uintptr_t near__locked_exchange_full(struct lock *lock, struct bin *bin, uintptr_t cursor);

#endif
