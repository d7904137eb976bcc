/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* Atomic operations whose memory order stands in the name, so that it can be searched for. */
#ifndef NEAR_BASE_ATOMIC_H
#define NEAR_BASE_ATOMIC_H

#include "base/compiler.h"

#define load_relaxed(p)	    __atomic_load_n((p), __ATOMIC_RELAXED)
#define load_acquire(p)	    __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define store_relaxed(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define store_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)

#define cas_acq_rel(p, expected, desired) \
	__atomic_compare_exchange_n((p), (expected), (desired), 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)
#define cas_acquire(p, expected, desired) \
	__atomic_compare_exchange_n((p), (expected), (desired), 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)
#define cas_relaxed(p, expected, desired) \
	__atomic_compare_exchange_n((p), (expected), (desired), 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED)

#define exchange_acq_rel(p, v)	__atomic_exchange_n((p), (v), __ATOMIC_ACQ_REL)
#define exchange_release(p, v)	__atomic_exchange_n((p), (v), __ATOMIC_RELEASE)
#define fetch_add_relaxed(p, v) __atomic_fetch_add((p), (v), __ATOMIC_RELAXED)
#define fetch_sub_relaxed(p, v) __atomic_fetch_sub((p), (v), __ATOMIC_RELAXED)
#define fetch_or_relaxed(p, v)	__atomic_fetch_or((p), (v), __ATOMIC_RELAXED)
#define fence_seq_cst()		__atomic_thread_fence(__ATOMIC_SEQ_CST)

/* A counter that many write and nobody decides by: a lost increment is allowed, a torn one is not. */
#define count_lossy(p, v) store_relaxed((p), load_relaxed(p) + (v))

/*
 * Keeps the compiler from moving stores across. Under a heap lock the order of stores matters to one
 * reader only, the child of a fork, which sees a prefix of each thread's stores.
 */
#define compiler_barrier() __atomic_signal_fence(__ATOMIC_SEQ_CST)

ALWAYS_INLINE void cpu_relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("isb" ::: "memory");
#endif
}

#endif
