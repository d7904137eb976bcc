/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * An input of the fuzzer: a byte of flags, then steps of six bytes. A step is a call of the allocation interface by one
 * of four threads, with what it does to the blocks that this thread owns; what does not decode is left out.
 *
 * What is here is compiled against the allocator's internals, and the names of libc in them are those under test
 * (see lib.sh): the C library's allocator serves the fuzzer.
 */
#ifndef NEAR_FUZZ_STEP_H
#define NEAR_FUZZ_STEP_H

#include "near/malloc.h"
#include "shadow.h"

enum { THREADS = 4, BLOCKS = 16, CHAINS = 2 };

struct step {
	uint8_t what, who, where;
	uint8_t kind, low, high; /* of size, count, alignment */
};

/* Many objects of one size; each knows the next. */
struct link {
	struct link *next;
	uintptr_t mark;
};

struct chain {
	struct link *first;
	size_t count;
};

struct owner {
	struct block blocks[BLOCKS];
	struct chain chains[CHAINS];
	unsigned slow; /* steps taken that take long */
};

enum { UNTOUCHED = 4711 }; /* errno before each call */

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN true
#endif
#endif
#ifndef UNDER_TSAN
#define UNDER_TSAN false
#endif

/* ThreadSanitizer loses it over a report, even one that it keeps to itself. */
static inline bool errno_is(int error)
{
	return errno == error || UNDER_TSAN;
}

static inline size_t word(const struct step *step)
{
	return (size_t)step->low | (size_t)step->high << 8;
}

/* ---- calls.c ---------------------------------------------------------------------------------------- */

size_t size_of(const struct step *step);
int node_of(const struct step *step);
bool node_exists(int node);
/* Whether NULL with ENOMEM is an answer. */
bool may_fail(size_t size, size_t align);
/* A block that is not there yet; `key` makes its contents. */
void take(struct block *b, const struct step *step, uint64_t key);
/* One that is: resized or freed. */
void use(struct block *b, const struct step *step, uint64_t key);
void released(struct block *b, void (*way)(void *));

/* ---- steps.c ---------------------------------------------------------------------------------------- */

/* By the thread that is to own what comes of it. */
void step_run(struct owner *me, const struct step *step);
/* Contents of all blocks. */
void owner_verify(const struct owner *me);
/* The same, and frees them. */
void owner_empty(struct owner *me);
/* What lies with nobody, for another thread to take up. */
void gifts_empty(void);

#endif
