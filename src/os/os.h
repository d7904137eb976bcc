/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Everything that the allocator wants of Linux, libnuma and liburcu: the one contract header of the layer.
 *
 * Functions that return int give 0 or a positive errno value. None changes errno, calls malloc (but for
 * near__numa_load) or is a cancellation point. Sizes are bytes and, where memory is mapped, multiples of
 * near__os_page_size.
 */
#ifndef NEAR_OS_OS_H
#define NEAR_OS_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/compiler.h"

/* ---- start ---------------------------------------------------------------------------------------- */

/* Sets the two below from the auxiliary vector, keeps our tables off huge pages and puts a guard behind them. */
void near__os_start(void);

extern size_t near__os_page_size;
extern bool near__os_secure; /* AT_SECURE: the environment belongs to somebody else */

/* ---- pages.c -------------------------------------------------------------------------------------- */

/* Address space without memory, aligned; NULL when it cannot be had. */
void *near__os_reserve(size_t bytes, size_t align);
/* Reserved pages become zeroed memory. Fails where the kernel refuses (overcommit, RLIMIT_DATA, map count). */
int near__os_commit(void *start, size_t bytes);
/* Fresh zeroed memory, aligned; NULL when it cannot be had. */
void *near__os_map(size_t bytes, size_t align);
int near__os_unmap(void *start, size_t bytes);
/* The same for what nobody uses: where the kernel refuses it goes later, when something is unmapped, or by the call below. */
void near__os_discard(void *start, size_t bytes);
bool near__os_discard_left(void);
/* The same between two pages that nobody can touch: for what the allocator keeps about the memory of others. */
void *near__os_map_guarded(size_t bytes);
void near__os_discard_guarded(void *start, size_t bytes);
/* Puts such a page there, unless something is mapped there already. */
void near__os_guard(void *start);
/* Makes all pages resident, and their contents stay. */
int near__os_populate(void *start, size_t bytes);
/* Gives the memory back and keeps the address space; afterwards it reads as zero. On failure perhaps only a part of it. */
int near__os_purge(void *start, size_t bytes);
/*
 * The same of up to OS_MOST_RANGES ranges at once, or with `lazily` when the kernel needs them, and until then they may read
 * as before (MADV_FREE). Bit i of the result: range[i] was given back.
 */
enum { OS_MOST_RANGES = 64 };
uint64_t near__os_purge_ranges(const struct iovec *range, unsigned n, bool lazily);
/* Huge pages for the range, or none: where the kernel gives them on request, or by itself. */
int near__os_huge(void *start, size_t bytes, bool wanted);
/* One byte for each of the kernel's pages; its lowest bit tells whether the page is resident. */
int near__os_residence(void *start, size_t bytes, unsigned char *resident);
/* Grows or shrinks a mapping in place. On failure nothing changed. */
int near__os_resize(void *start, size_t old_bytes, size_t new_bytes);
/* Moves a mapping onto a fresh one of near__os_map, which it replaces. On failure nothing moved, and the target is gone. */
int near__os_move(void *start, size_t old_bytes, void *target, size_t new_bytes);
/* The limit of address space (RLIMIT_AS), SIZE_MAX where there is none. */
size_t near__os_address_limit(void);
/* Whether address lies in the program break area, where another malloc may have lived before us. */
bool near__os_in_break(uintptr_t address);

/* ---- cpus.c --------------------------------------------------------------------------------------- */

/* One more than the largest CPU number that can ever appear. At least 1. */
unsigned near__os_possible_cpus(void);
/* Bytes of memory that the machine has; 0: unknown. */
uint64_t near__os_memory(void);
/* A bound on CPU numbers from the scheduler alone, should the files that tell the above be a container's fiction. */
unsigned near__os_cpu_bound(void);
/* The CPU we are on, or -1 where the kernel does not say. */
int near__os_cpu(void);

/* ---- topology.c ------------------------------------------------------------------------------------ */

enum {
	OS_MAX_NODES = 340, /* that memory is kept apart for; the page map's bins allow no more */
	OS_MAX_CPUS = 8192,
	OS_NODE_NUMBERS = 1024, /* the kernel's own bound */
	OS_NODE_UNKNOWN = UINT16_MAX,
};

enum os_policy {
	OS_POLICY_DEFAULT = 0, /* the numbers are those of get_mempolicy */
	OS_POLICY_PREFERRED,
	OS_POLICY_BIND,
	OS_POLICY_INTERLEAVE,
	OS_POLICY_LOCAL,
	OS_POLICY_UNKNOWN = 255, /* get_mempolicy or mbind is refused */
};

/*
 * Nodes with memory that we may use, numbered densely from 0; "node" is this number everywhere else, "kernel node" the
 * kernel's. Made by near__numa_arrange; until then, and where it answered false, there is one and nothing is bound.
 */
struct topology {
	unsigned nodes;
	unsigned policy;	     /* enum os_policy */
	bool bound;		     /* memory is to lie on its node */
	bool strict;		     /* and nowhere else */
	uint8_t apart[OS_MAX_NODES]; /* used only for those who name it: it has no CPU */
	uint16_t kernel_node[OS_MAX_NODES];
	uint16_t near_node[OS_NODE_NUMBERS]; /* by kernel node: itself or, if it has no memory, the nearest */
	uint16_t node_of_cpu[OS_MAX_CPUS];   /* read by near__numa_node_of_cpu */
};

extern struct topology near__topology;

/* What there is, as libnuma or a test tells it. Numbers are the kernel's. */
struct os_machine {
	unsigned nodes; /* one more than the highest */
	unsigned cpus;
	bool (*has_memory)(int node);	   /* that we may use */
	int (*node_of_cpu)(int cpu);	   /* -1: not known, as of a CPU that is offline */
	int (*distance)(int from, int to); /* 0: unknown */
};

/*
 * Fills near__topology, with the nodes whose bits are set in `named`, or all if there are none. False: memory need not
 * be bound. machine->distance stays in use.
 */
bool near__numa_arrange(const struct os_machine *machine, const uint64_t *named);
/* One node again, nothing bound. */
void near__numa_forget(void);
/* The node of a CPU. OS_NODE_UNKNOWN: it came online after the start, and we do not run on it (any more). */
unsigned near__numa_node_of_cpu(unsigned cpu);
/* The node with the kernel's number; -1: no memory is kept there. */
int near__numa_dense(int kernel_node);
/* From which nodes memory for `node` may come, by distance: itself first. Returns how many. Not reentrant. */
unsigned near__numa_order(unsigned node, uint16_t *order);
/* 0: unknown */
unsigned near__numa_distance(unsigned from, unsigned to);

/* From /sys alone: how many nodes have memory, whether we use them or not; and which. */
unsigned near__numa_listed(void);
bool near__numa_has_memory(int kernel_node);
/* The highest number of any node. */
unsigned near__numa_last(void);

/* Milliseconds of a clock that never goes back, some milliseconds late. A system call. */
uint64_t near__os_milliseconds(void);
/* The same to the nanosecond, for what is measured. */
uint64_t near__os_nanoseconds(void);

/* ---- numa.c or no-numa.c -------------------------------------------------------------------------- */

/* near__numa_arrange with what libnuma tells. Calls malloc. Returns false, and one node, where it cannot. */
bool near__numa_load(void);
/* Prefers the node for memory that is new; */
int near__numa_bind(void *start, size_t bytes, unsigned node);
/* the same for memory that may have been touched: it is moved there. */
int near__numa_move(void *start, size_t bytes, unsigned node);
/* If the topology is strict: makes memory with indifferent contents resident on the node; on failure it is purged. */
int near__numa_claim(void *start, size_t bytes, unsigned node);
/* The system call below them all, for tests to put themselves in its place. `node` is the kernel's. */
extern int (*near__numa_mbind)(void *start, size_t bytes, int policy, unsigned node, unsigned flags);

/*
 * Where pages lie: node[i] becomes the kernel node of the page at pages[i], or a negative errno value where it is not
 * resident.
 */
int near__numa_where(void *const *pages, size_t n, int *node);

/* ---- rseq.c, membarrier.c ------------------------------------------------------------------------- */

/* Whether restartable sequences can be used by this process; sets near__rseq_offset. */
bool near__rseq_start(void);
/*
 * Whether this kernel may be one of those that do not restart sections at each preemption; and a test of some
 * milliseconds whether it does, by a child on the same CPU. After near__rseq_start, while single-threaded.
 */
enum rseq_verdict { RSEQ_UNKNOWN, RSEQ_RESTARTS, RSEQ_BROKEN };
bool near__rseq_suspect(void);
enum rseq_verdict near__rseq_test(void);
/* Registers the calling thread where libc does not. False: this thread has no rseq area. */
bool near__rseq_register_thread(void);
/* Registers the process for near__membarrier_fence. Call while single-threaded: it is dear later. */
bool near__membarrier_start(void);
/* All threads of the process see what was stored before. After near__membarrier_start. */
void near__membarrier_fence_all(void);
/* No thread that was inside a section on `cpu` when this was called is in it still. */
int near__membarrier_fence(unsigned cpu);

/* ---- futex.c -------------------------------------------------------------------------------------- */

/*
 * Asked before a thread falls asleep: whether it holds a lock already. Then it is a signal handler that came under that
 * lock, and may not wait: who holds the other may be waiting for this one in a handler of its own.
 */
extern bool (*near__os_holds_a_lock)(void);
/* Mends what other threads of the parent left behind; called once in each child, before it gets its first lock. */
extern void (*near__os_after_fork)(void);
/* From now on a child is recognised; both of the above are set. */
void near__os_mark_forks(void);
/* For pthread_atfork: before, notes who forks; */
void near__os_forking(void);
/* in the child, mends if nobody has yet. */
void near__os_forked(void);

/* ---- thread.c -------------------------------------------------------------------------------------- */

/*
 * Starts a detached thread with all signals blocked and a small stack. Calls malloc: from the program's own calls and the
 * constructor only. `name` stays the caller's. False: none can be had.
 */
bool near__os_thread(void (*body)(void), const char *name);
/* If the calling thread is the main one: what to call when it ends without the process. Once in a process. */
void near__os_when_main_ends(void (*call)(void));
/* Whether libc knows that the program has made no thread yet; false where it does not tell. */
bool near__os_single_threaded(void);
/* How many threads the process has, ended main thread included; 0 where it cannot be known. */
unsigned near__os_threads(void);
/* Sleeps while *word is `value`, for that long at most; UINT64_MAX: without a limit. May return early. */
void near__os_wait(uint32_t *word, uint32_t value, uint64_t ms);
void near__os_wake(uint32_t *word);
/* What the name means to those behind us; the shared library only. */
void *near__os_next_symbol(const char *name);

/* ---- cgroup.c -------------------------------------------------------------------------------------- */

/* Limits that the process's control group sets; 0: none. */
struct os_cgroup {
	uint64_t memory; /* bytes */
	unsigned cpus;	 /* of the quota, rounded up */
};

/* Not reentrant. */
struct os_cgroup near__os_cgroup(void);

/* ---- walk.c --------------------------------------------------------------------------------------- */

/*
 * Walkers read memory that can be unmapped between these two. They may allocate in the first, so never from malloc or
 * free. Whoever unmaps hides it from walkers first, and then asks one of the next two.
 */
bool near__walk_begin(void);
/* With what near__walk_begin returned. */
void near__walk_end(bool known);
/* No walker is inside that could have seen what was hidden before the call. Never waits. */
bool near__walk_none(void);
/* The same, after waiting for those that are. Not from malloc or free. False: that cannot be known, or we are one. */
bool near__walk_left(void);
/* Whether the calling thread is a walker, for whom somebody may be waiting. */
bool near__walk_inside(void);
/* In the child of a fork: those that did not come along have left. */
void near__walk_after_fork(void);

/* ---- rcu.c or no-rcu.c, for walk.c ------------------------------------------------------------------ */

bool near__rcu_load(void);
/* When near__rcu_load has succeeded. */
void near__rcu_read_lock(void);
void near__rcu_read_unlock(void);
/* All walkers that were inside have left. False where that cannot be known. */
bool near__rcu_synchronize(void);
/* In the child of a fork, where a mutex of liburcu's may be taken for ever: from now on near__rcu_load fails. */
void near__rcu_after_fork(void);

/* ---- files.c, message.c --------------------------------------------------------------------------- */

/* Reads at most size-1 bytes and terminates them; the number read, or -1. Keeps no descriptor. */
long near__os_read_file(const char *path, char *buffer, size_t size);
/* Writes all of it; an errno value on failure. */
int near__os_write(int fd, const char *text, size_t length);
/* Another descriptor for the same file, out of the program's way and closed on exec; -1 on failure. */
int near__os_duplicate(int fd);
/* What the descriptor stands for, as a number that is the same as long as it does; 0 when it is closed. */
uint64_t near__os_identity(int fd);

/* One line on stderr: "nearmalloc: " and the text, in one write. */
void near__warn(const char *format, ...) PRINTF_LIKE(1, 2);
/* The same, then abort(). */
_Noreturn void near__die(const char *format, ...) PRINTF_LIKE(1, 2);

/* An invariant that --enable-debug checks. */
#if NEAR_DEBUG
#define near_invariant(condition) \
	((condition) ? (void)0 : near__die("%s:%d: broken invariant: %s", __FILE__, __LINE__, #condition))
#else
#define near_invariant(condition) ((void)sizeof(condition))
#endif

#endif
