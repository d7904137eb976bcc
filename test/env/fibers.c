/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Fibers by swapcontext that wander between threads: a block that one thread allocated in the middle of a function is
 * freed by another, on a stack that came from malloc itself.
 */
#include <ucontext.h>

#include "shadow.h"
#include "threads.h"

enum { FIBERS = 64, THREADS = 4, STACK = 65536 };

struct fiber {
	ucontext_t context;
	ucontext_t *runner; /* whoever runs it at the moment */
	struct shadow heap;
	unsigned long turns;
	bool done;
	struct fiber *next;
};

static struct fiber fibers[FIBERS];
static struct fiber *ready, **ready_end = &ready;
static unsigned alive = FIBERS;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void enqueue(struct fiber *f)
{
	pthread_mutex_lock(&lock);
	f->next = NULL;
	*ready_end = f;
	ready_end = &f->next;
	pthread_mutex_unlock(&lock);
}

static struct fiber *dequeue(void)
{
	struct fiber *f;

	pthread_mutex_lock(&lock);
	f = ready;
	if (f != NULL) {
		ready = f->next;
		if (ready == NULL)
			ready_end = &ready;
	}
	pthread_mutex_unlock(&lock);
	return f;
}

/* Not inlined, so that no address of thread-local data is kept across a switch. */
__attribute__((noinline)) static void work(struct fiber *f)
{
	shadow_steps(&f->heap, 7);
}

__attribute__((noinline)) static void yield(struct fiber *f)
{
	CHECK(swapcontext(&f->context, f->runner) == 0);
}

static void life(unsigned low, unsigned high)
{
	struct fiber *f = (struct fiber *)((uintptr_t)low | (uintptr_t)high << 32);

	while (f->turns-- > 0) {
		unsigned char *p = malloc(500);

		CHECK(p != NULL);
		memset(p, (int)f->turns, 500);
		work(f);
		yield(f);
		for (int i = 0; i < 500; i++)
			CHECK(p[i] == (unsigned char)f->turns);
		free(p);
	}
	f->done = true;
	yield(f);
}

static void fiber_make(struct fiber *f, uint64_t seed)
{
	uintptr_t address = (uintptr_t)f;

	shadow_open(&f->heap, 60, 300000, seed);
	f->turns = scaled(400);
	CHECK(getcontext(&f->context) == 0);
	f->context.uc_stack.ss_sp = malloc(STACK);
	f->context.uc_stack.ss_size = STACK;
	f->context.uc_link = NULL;
	CHECK(f->context.uc_stack.ss_sp != NULL);
	makecontext(&f->context, (void (*)(void))life, 2, (unsigned)address, (unsigned)(address >> 32));
}

static void *run_fibers(void *arg)
{
	ucontext_t here;

	while (__atomic_load_n(&alive, __ATOMIC_ACQUIRE) > 0) {
		struct fiber *f = dequeue();

		if (f == NULL) {
			sched_yield();
			continue;
		}
		f->runner = &here;
		CHECK(swapcontext(&here, &f->context) == 0);
		if (f->done)
			__atomic_fetch_sub(&alive, 1, __ATOMIC_RELEASE);
		else
			enqueue(f);
	}
	return arg;
}

int main(void)
{
	pthread_t threads[THREADS];

	for (unsigned i = 0; i < FIBERS; i++) {
		fiber_make(&fibers[i], i + 1);
		enqueue(&fibers[i]);
	}
	for (int i = 0; i < THREADS; i++)
		threads[i] = thread_start(run_fibers, NULL);
	for (int i = 0; i < THREADS; i++)
		thread_join(threads[i]);
	for (unsigned i = 0; i < FIBERS; i++) {
		shadow_close(&fibers[i].heap);
		free(fibers[i].context.uc_stack.ss_sp);
	}
	return 0;
}
