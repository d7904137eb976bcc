/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * An input of the fuzzer: a byte of flags, then steps of six bytes. A step is a call of the allocation interface by one
 * of four threads, with what it does to the blocks that this thread owns; what does not decode is left out.
 *
 * calls.c and heap.c are compiled against the allocator's internals, and the names of libc in them are those under test
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

/* By the thread that is to own what comes of it. */
void step_run(struct owner *me, const struct step *step);
/* Contents of all blocks. */
void owner_verify(const struct owner *me);
/* The same, and frees them. */
void owner_empty(struct owner *me);
/* What lies with nobody, for another thread to take up. */
void gifts_empty(void);

#endif
