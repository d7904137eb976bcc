/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * liburcu's "bulletproof" flavour, the only one that can live in programs that know nothing of it.
 *
 * The shared library loads it when the first walker or unmapping asks, not at start: being linked with it costs
 * every process 20 system calls. The static archive is linked with it. Never call_rcu, never its fork handlers.
 */
#include <dlfcn.h>
#include <urcu/urcu-bp.h>

#include "base/atomic.h"
#include "os/os.h"

static void (*read_lock)(void);
static void (*read_unlock)(void);
static void (*synchronize)(void);
static bool loaded;
static bool forked;

#ifdef PIC

static bool load(void)
{
	void *library = dlopen("liburcu-bp.so.8", RTLD_NOW | RTLD_LOCAL);

	if (!library)
		return false;
	*(void **)&read_lock = dlsym(library, "urcu_bp_read_lock");
	*(void **)&read_unlock = dlsym(library, "urcu_bp_read_unlock");
	*(void **)&synchronize = dlsym(library, "urcu_bp_synchronize_rcu");
	return read_lock && read_unlock && synchronize;
}

#else

static bool load(void)
{
	read_lock = urcu_bp_read_lock;
	read_unlock = urcu_bp_read_unlock;
	synchronize = urcu_bp_synchronize_rcu;
	return true;
}

#endif

bool near__rcu_load(void)
{
	if (!load_acquire(&loaded) && load())
		store_release(&loaded, true);
	return load_acquire(&loaded) && !forked;
}

void near__rcu_read_lock(void)
{
	read_lock();
}

void near__rcu_read_unlock(void)
{
	read_unlock();
}

bool near__rcu_synchronize(void)
{
	if (forked || !load_acquire(&loaded))
		return false;
	synchronize();
	return true;
}

void near__rcu_after_fork(void)
{
	forked = true;
}
