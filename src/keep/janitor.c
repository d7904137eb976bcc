/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * The janitor: one thread that gives free memory back, from the moment on when the program has a thread of its own.
 *
 * It sleeps without a limit when nothing is left to do. Slow paths see that by `near__janitor_asleep` and wake it. One
 * that looked a moment too early is not missed: before it sleeps without a limit the janitor sleeps for a while with the
 * word set already, looks again, and must have found nothing twice.
 */
#include "base/conf.h"
#include "keep/keep.h"
#include "keep/limits.h"
#include "os/os.h"

enum { STATE_NONE, STATE_STARTING, STATE_RUNS };
enum { ALONE_MS = 20, NAP_MS = 2000 };

uint32_t near__janitor_asleep;
static uint32_t state;
static uint32_t bell; /* what it sleeps on: 1 when it was rung since it last looked */
static uint32_t main_ended;

bool near__janitor_runs(void)
{
	return load_acquire(&state) == STATE_RUNS;
}

static void ring(void)
{
	if (!exchange_acq_rel(&bell, 1u))
		near__os_wake(&bell);
}

void near__janitor_wake(void)
{
	store_relaxed(&near__janitor_asleep, 0u);
	ring();
}

static uint64_t work(void)
{
	uint64_t next;

	near__limits_derive();
	if (!lock_acquire(&near__purge_lock))
		return NAP_MS;
	near__keep_fulfil(true);
	next = near__keep_step(near__os_milliseconds(), KEEP_ALL);
	lock_release(&near__purge_lock);
	return next;
}

/* What main left behind: the process ends with its last other thread, which must not be this one for long. */
static bool is_alone(void)
{
	return load_relaxed(&main_ended) && near__os_threads() <= 2; /* main counts until the process ends */
}

/* At most that long. True: it was woken. */
static bool rest(uint64_t ms)
{
	near__os_wait(&bell, 0, load_relaxed(&main_ended) ? size_min(ms, ALONE_MS) : ms);
	return exchange_acq_rel(&bell, 0u);
}

static void janitor(void)
{
	bool quiet = false; /* nothing was left to do, and nobody came since */

	while (!is_alone()) {
		uint64_t next = work();
		bool nothing = next == KEEP_NOTHING;

		if (nothing)
			store_relaxed(&near__janitor_asleep, 1u);
		if (rest(nothing && !quiet ? NAP_MS : next))
			quiet = false;
		else
			quiet |= nothing;
	}
	store_release(&state, (uint32_t)STATE_NONE);
}

static void note_main_ends(void)
{
	store_relaxed(&main_ended, 1u);
	if (near__janitor_runs())
		ring();
}

void near__janitor_start(void)
{
	uint32_t none = STATE_NONE;

	if (near__conf.janitor == CONF_OFF || near__mode == NEAR_MODE_EARLY || load_relaxed(&state) != STATE_NONE ||
	    !cas_acq_rel(&state, &none, (uint32_t)STATE_STARTING))
		return;
	near__os_when_main_ends(note_main_ends); /* who makes the first thread is the main one */
	store_relaxed(&near__heap_decays, near__conf.decay_ms != 0);
	store_release(&state, (uint32_t)STATE_RUNS);
	if (near__os_thread(janitor, "nearmalloc"))
		return;
	store_relaxed(&near__heap_decays, false);
	store_release(&state, (uint32_t)STATE_NONE); /* the next thread that the program makes tries again */
}

/* The thread did not come along. */
void near__janitor_after_fork(void)
{
	state = STATE_NONE;
	near__heap_decays = false;
	near__janitor_asleep = bell = main_ended = 0;
}
