/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* What the compiler is told: hints, attributes and small helpers without a home elsewhere. */
#ifndef NEAR_BASE_COMPILER_H
#define NEAR_BASE_COMPILER_H

#include <stddef.h>
#include <stdint.h>

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define NOINLINE      __attribute__((noinline))
#define COLD	      __attribute__((cold, noinline))
#define HOT	      __attribute__((hot))
#define ALIGNED(n)    __attribute__((aligned(n)))
#define WEAK	      __attribute__((weak))
/* For variables of the fast paths: declared hidden, they are addressed without a detour over the GOT. */
#define HIDDEN __attribute__((visibility("hidden")))
/*
 * For arrays that are large and mostly untouched: at the end of .bss, so that the small variables lie together. Each page
 * of those is a fault at the start and in each child.
 */
#ifdef __clang__ /* would put zeros in the file */
#define VAST
#else
#define VAST __attribute__((section(".sbss.vast")))
#endif
/* A second name for a function of the same file. */
#if __has_attribute(copy)
#define ALIAS_OF(name) __attribute__((alias(#name), copy(name)))
#else
#define ALIAS_OF(name) __attribute__((alias(#name)))
#endif

#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

/* A word that two CPUs write has a line to itself; depot heads get two, for the adjacent-line prefetcher. */
#define CACHE_LINE	64
#define CACHE_LINE_PAIR 128

#define container_of(ptr, type, member) ((type *)((uintptr_t)(ptr)-offsetof(type, member)))
#define ARRAY_LEN(a)			(sizeof(a) / sizeof((a)[0]))

/* The thread's identity without a system call: the thread pointer is unique among the living. */
ALWAYS_INLINE uintptr_t thread_pointer(void)
{
	return (uintptr_t)__builtin_thread_pointer();
}

#endif
