/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * What code compiled with -fsanitize=thread calls, and what the linker sends here instead of to the allocator (--wrap):
 * the CPU, the clock, and waiting for a lock.
 */
#include <string.h>

#include "base/lock.h"
#include "os/os.h"
#include "sim.h"

#pragma GCC diagnostic ignored "-Wmissing-prototypes"

void *sim_thread_pointer(void)
{
	return (void *)(((uintptr_t)sim_self() + 1) << 12);
}

/* ---- plain accesses ------------------------------------------------------------------------------- */

#define PLAIN(bytes)                                        \
	void __tsan_read##bytes(void *p)                    \
	{                                                   \
		sim_access((uintptr_t)p, bytes, SIM_READ);  \
	}                                                   \
	void __tsan_write##bytes(void *p)                   \
	{                                                   \
		sim_access((uintptr_t)p, bytes, SIM_WRITE); \
	}                                                   \
	void __tsan_unaligned_read##bytes(void *p)          \
	{                                                   \
		sim_access((uintptr_t)p, bytes, SIM_READ);  \
	}                                                   \
	void __tsan_unaligned_write##bytes(void *p)         \
	{                                                   \
		sim_access((uintptr_t)p, bytes, SIM_WRITE); \
	}                                                   \
	void __tsan_volatile_read##bytes(void *p)           \
	{                                                   \
		sim_access((uintptr_t)p, bytes, SIM_READ);  \
	}                                                   \
	void __tsan_volatile_write##bytes(void *p)          \
	{                                                   \
		sim_access((uintptr_t)p, bytes, SIM_WRITE); \
	}
PLAIN(1)
PLAIN(2)
PLAIN(4)
PLAIN(8)
PLAIN(16)

void __tsan_read_range(void *p, size_t bytes)
{
	sim_access((uintptr_t)p, bytes, SIM_READ);
}

void __tsan_write_range(void *p, size_t bytes)
{
	sim_access((uintptr_t)p, bytes, SIM_WRITE);
}

void *__tsan_memset(void *p, int byte, size_t bytes)
{
	sim_access((uintptr_t)p, bytes, SIM_WRITE);
	return memset(p, byte, bytes);
}

void *__tsan_memcpy(void *to, const void *from, size_t bytes)
{
	sim_access((uintptr_t)from, bytes, SIM_READ);
	sim_access((uintptr_t)to, bytes, SIM_WRITE);
	return memcpy(to, from, bytes);
}

void *__tsan_memmove(void *to, const void *from, size_t bytes)
{
	sim_access((uintptr_t)from, bytes, SIM_READ);
	sim_access((uintptr_t)to, bytes, SIM_WRITE);
	return memmove(to, from, bytes);
}

void __tsan_init(void)
{
}

void __tsan_func_entry(void *caller)
{
	(void)caller;
}

void __tsan_func_exit(void)
{
}

/* ---- atomics -------------------------------------------------------------------------------------- */

/* Of the allocator's CAS only those that take a lock have acquire order (base/lock.h). */
static void note_cas(bool shared, bool done, int order)
{
	sim_counts.cas_failed += shared && !done;
	sim_counts.locks += shared && done && order == __ATOMIC_ACQUIRE;
}

#define ATOMIC(bits, type)                                                                                      \
	type __tsan_atomic##bits##_load(const type *p, int order)                                               \
	{                                                                                                       \
		(void)order;                                                                                    \
		sim_access((uintptr_t)p, sizeof(*p), SIM_READ);                                                 \
		return *p;                                                                                      \
	}                                                                                                       \
	void __tsan_atomic##bits##_store(type *p, type v, int order)                                            \
	{                                                                                                       \
		(void)order;                                                                                    \
		sim_access((uintptr_t)p, sizeof(*p), SIM_WRITE);                                                \
		*p = v;                                                                                         \
	}                                                                                                       \
	int __tsan_atomic##bits##_compare_exchange_strong(type *p, type *expected, type v, int order, int fail) \
	{                                                                                                       \
		bool shared = sim_access((uintptr_t)p, sizeof(*p), SIM_ATOMIC), done;                           \
		(void)fail;                                                                                     \
		done = *p == *expected;                                                                         \
		*expected = *p;                                                                                 \
		*p = done ? v : *p;                                                                             \
		note_cas(shared, done, order);                                                                  \
		return done;                                                                                    \
	}                                                                                                       \
	type __tsan_atomic##bits##_compare_exchange_val(type *p, type expected, type v, int order, int fail)    \
	{                                                                                                       \
		__tsan_atomic##bits##_compare_exchange_strong(p, &expected, v, order, fail);                    \
		return expected;                                                                                \
	}                                                                                                       \
	READ_MODIFY_WRITE(bits, type, exchange, v)                                                              \
	READ_MODIFY_WRITE(bits, type, fetch_add, (type)(old + v))                                               \
	READ_MODIFY_WRITE(bits, type, fetch_sub, (type)(old - v))                                               \
	READ_MODIFY_WRITE(bits, type, fetch_or, old | v)                                                        \
	READ_MODIFY_WRITE(bits, type, fetch_and, old &v)

#define READ_MODIFY_WRITE(bits, type, name, value)                    \
	type __tsan_atomic##bits##_##name(type *p, type v, int order) \
	{                                                             \
		type old;                                             \
		(void)order;                                          \
		sim_access((uintptr_t)p, sizeof(*p), SIM_ATOMIC);     \
		old = *p;                                             \
		*p = value;                                           \
		return old;                                           \
	}

/* clang-format off */
ATOMIC(8, uint8_t)
ATOMIC(16, uint16_t)
ATOMIC(32, uint32_t)
ATOMIC(64, uint64_t)
/* clang-format on */

void __tsan_atomic_signal_fence(int order)
{
	(void)order;
}

void __tsan_atomic_thread_fence(int order)
{
	(void)order;
}

/* ---- the machine ---------------------------------------------------------------------------------- */

extern bool sim_one_table;

int __wrap_near__os_cpu(void)
{
	return sim_self() == SIM_MOST_CPUS || sim_one_table ? 0 : (int)sim_self();
}

/* The same whatever the number that take part, for the budget of a CPU depends on it. */
unsigned __wrap_near__os_possible_cpus(void)
{
	return SIM_MOST_CPUS;
}

/* Nor may it depend on the group that the test runs in. */
struct os_cgroup __wrap_near__os_cgroup(void)
{
	return (struct os_cgroup){0};
}

/* The janitor is no thread of this machine: it never gets round to anything, and its work is in no figure. */
bool __wrap_near__os_thread(void (*run)(void), const char *name)
{
	(void)run;
	(void)name;
	return true;
}

uint64_t __wrap_near__os_milliseconds(void)
{
	return 0;
}

void sim_pause(void)
{
	sim_spend(SIM_PAUSE);
}

/* What is done to the word while waiting is in the account as one wait. */
static bool cas(struct lock *lock, uint32_t seen, uint32_t word)
{
	sim_counts.atomics -= sim_access((uintptr_t)&lock->word, sizeof(lock->word), SIM_ATOMIC);
	if (lock->word != seen)
		return false;
	lock->word = word;
	return true;
}

static uint32_t look(const struct lock *lock)
{
	sim_access((uintptr_t)&lock->word, sizeof(lock->word), SIM_READ);
	return lock->word;
}

/* As in os/futex.c, but for fork and signals. */
bool __wrap_near__lock_wait(struct lock *lock, uint32_t self)
{
	uint32_t seen;

	if ((lock->word & ~LOCK_SLEEPERS) == self)
		return false;
	sim_counts.lock_waits++;
	for (int i = 0; i < 100; i++, sim_pause()) {
		if (!look(lock) && cas(lock, 0, self))
			return true;
	}
	for (;;) {
		seen = look(lock);
		if (!seen && cas(lock, 0, self | LOCK_SLEEPERS))
			return true;
		if (!seen || (!(seen & LOCK_SLEEPERS) && !cas(lock, seen, seen | LOCK_SLEEPERS)))
			continue;
		sim_spend(SIM_SYSCALL);
		if (look(lock) == (seen | LOCK_SLEEPERS))
			sim_sleep(lock);
	}
}

void __wrap_near__lock_wake(struct lock *lock)
{
	sim_spend(SIM_SYSCALL);
	sim_wake(lock);
}
