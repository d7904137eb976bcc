/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* A thread of the allocator's own, which the program should not notice. */
#include <dlfcn.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/atomic.h"
#include "os/kernel.h"
#include "os/os.h"

enum { STACK_BYTES = 64 << 10, START_MS = 1000 };

static const char *thread_name;
static uint32_t started;

static void *run(void *argument)
{
	void (*body)(void) = *(void (**)(void))argument;

	prctl(PR_SET_NAME, thread_name);
	store_release(&started, 1u);
	near__os_wake(&started);
	body();
	return NULL;
}

#ifdef PIC
/* Ours of that name would start the janitor again. */
static int create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument)
{
	static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

	if (!real)
		*(void **)&real = near__os_next_symbol("pthread_create");
	return real ? real(thread, attributes, start, argument) : EAGAIN;
}

void *near__os_next_symbol(const char *name)
{
	return dlsym(RTLD_NEXT, name);
}
#else
#define create pthread_create
#endif

/* A small stack, unless the program's thread-local variables do not fit there. */
static int create_small(void *(*start)(void *), void *argument)
{
	pthread_attr_t attributes;
	pthread_t thread;
	int error;

	if (pthread_attr_init(&attributes))
		return ENOMEM;
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attributes, STACK_BYTES);
	error = create(&thread, &attributes, start, argument);
	if (error == EINVAL) {
		pthread_attr_destroy(&attributes);
		pthread_attr_init(&attributes);
		pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
		error = create(&thread, &attributes, start, argument);
	}
	pthread_attr_destroy(&attributes);
	return error;
}

bool near__os_thread(void (*body)(void), const char *name)
{
	static void (*kept)(void);
	sigset_t all, before;
	int error, saved = errno;

	kept = body;
	thread_name = name;
	store_relaxed(&started, 0u);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before); /* the thread inherits it */
	error = create_small(run, &kept);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	/* What libc asks of the kernel as a thread starts must not meet a filter that the program sets up next. */
	if (!error && !load_acquire(&started))
		near__os_wait(&started, 0, START_MS);
	errno = saved;
	return !error;
}

static void (*main_ends)(void);

static void call_main_ends(void *value)
{
	(void)value;
	main_ends();
}

/* As a thread's own data is destroyed: on pthread_exit, when cancelled, and at the return of a thread that forked. */
void near__os_when_main_ends(void (*call)(void))
{
	static bool made;
	static pthread_key_t key;

	if (gettid() != getpid())
		return;
	main_ends = call;
	made = made || !pthread_key_create(&key, call_main_ends);
	if (made)
		pthread_setspecific(key, &key);
}

/* Cleared by glibc 2.32 and later before the first thread is made. */
extern char __libc_single_threaded WEAK;

bool near__os_single_threaded(void)
{
	const char *volatile single = &__libc_single_threaded;

	return single && *(const volatile char *)single;
}

unsigned near__os_threads(void)
{
	struct stat status;

	return stat("/proc/self/task", &status) || status.st_nlink < 2 ? 0 : (unsigned)status.st_nlink - 2;
}

void near__os_wait(uint32_t *word, uint32_t value, uint64_t ms)
{
	struct timespec limit = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};

	KERNEL(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, ms == UINT64_MAX ? NULL : &limit);
}

void near__os_wake(uint32_t *word)
{
	KERNEL(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1);
}
