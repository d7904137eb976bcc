/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * A machine with up to 256 CPUs in one thread of one process, on which the allocator runs unchanged.
 *
 * The allocator is compiled with -fsanitize=thread, so it announces each access to memory; hooks.c stands in for the
 * sanitizer's library. Each CPU is a coroutine with a clock. Before an access to a line that others use too, all CPUs
 * whose clocks are behind catch up: so these accesses happen in the order of time, and a run with the same arguments is
 * the same run. Caches are coherent and of any size:
 *
 *     the CPU has the line (to write: nobody else has)    a hit         SIM_HIT cycles
 *     it has not, and nobody has written it yet           cold          SIM_MISS cycles
 *     else it comes from another CPU                      a transfer    SIM_MISS cycles; of one line one at a time
 *
 * A plain store does not wait for its line, as there are store buffers. What the allocator does to memory in system calls,
 * page faults and the instructions between accesses are not in the account.
 */
#ifndef NEAR_TEST_SIM_H
#define NEAR_TEST_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	SIM_MOST_CPUS = 256,
	SIM_HIT = 1,
	SIM_MISS = 100, /* within a socket; between sockets it is two to four times that */
	SIM_PAUSE = 40, /* of the processor's own instruction */
	SIM_SYSCALL = 1000,
	SIM_WAKE = 5000, /* until a sleeper runs */
	SIM_LINE = 64,
};

/* What has happened since sim_count_from_here. Atomics and CAS: of lines that more than one CPU uses. */
struct sim_counts {
	uint64_t transfers;
	uint64_t atomics;    /* read-modify-writes, those that failed among them */
	uint64_t cas_failed; /* the first try of a lock among them */
	uint64_t locks, lock_waits;
	uint64_t cycles; /* on the clock of the CPU that is furthest */
};

extern struct sim_counts sim_counts;

/* Runs work(cpu) on each CPU until all have returned. */
void sim_run(unsigned cpus, void (*work)(unsigned cpu));
/* The CPU that runs now; a number that no CPU has, outside of sim_run. */
unsigned sim_self(void);
/* In work: this much time passes; others catch up. */
void sim_spend(unsigned cycles);
/* Until somebody wakes one of those who sleep on the word. */
void sim_sleep(const void *word);
void sim_wake(const void *word);
void sim_count_from_here(void);
/* The transfers of each line that had any, in no order. */
void sim_each_line(void (*visit)(uintptr_t line, uint64_t transfers));

/* ---- for hooks.c ---------------------------------------------------------------------------------- */

enum sim_access { SIM_READ, SIM_WRITE, SIM_ATOMIC };

/* The access has its turn when this returns. True: the line is one that several CPUs use. */
bool sim_access(uintptr_t address, size_t bytes, enum sim_access access);

#endif
