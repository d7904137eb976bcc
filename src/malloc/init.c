/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Start-up, in two steps.
 *
 * The first call of anything, which may come before any constructor has run, makes one heap; from then on malloc
 * works, slowly. The constructor, when libc is ready and the process still single-threaded, reads the options and
 * the machine, chooses the mode and opens the fast paths. Nothing is moved in between: what the first step handed
 * out is freed like everything else.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/conf.h"
#include "base/format.h"
#include "heap/extent.h"
#include "keep/keep.h"
#include "keep/limits.h"
#include "keep/trim.h"
#include "malloc/fast.h"
#include "os/os.h"

#define CONF_FILE	 "/etc/nearmalloc.conf"
#define CONF_ENVIRONMENT "NEARMALLOC_CONF"

extern const char *near_conf WEAK;

size_t near__small_limit;
uintptr_t near__pagemap_limit;

static bool complained;
static const char *reason = "start-up has not ended";

const char *near__init_reason(void)
{
	return reason;
}

bool near__init(void)
{
	return likely(load_acquire(&near__nodes)) || near__heap_first();
}

/* ---- options -------------------------------------------------------------------------------------- */

static void complain(const char *source, const char *line)
{
	complained = true;
	near__warn("%s: %s", source, line);
}

static void read_options(void)
{
	char file[4096];
	long length;
	const char *text;

	if (&near_conf && near_conf)
		near__conf_parse(near_conf, strlen(near_conf), "near_conf", complain);
	if (near__os_secure)
		return;
	length = near__os_read_file(CONF_FILE, file, sizeof(file));
	if (length == sizeof(file) - 1) {
		complain(CONF_FILE, "longer than 4094 bytes; its last lines are ignored");
		while (length && file[length - 1] != '\n')
			length--;
	}
	if (length > 0)
		near__conf_parse(file, (size_t)length, CONF_FILE, complain);
	text = getenv(CONF_ENVIRONMENT);
	if (text)
		near__conf_parse(text, strlen(text), CONF_ENVIRONMENT, complain);
}

static void confirm_options(void)
{
	for (unsigned i = 0;; i++) {
		char buffer[256];
		struct text line = TEXT_IN(buffer);

		if (!near__conf_describe(i, &line))
			return;
		near__warn("%s", buffer);
	}
}

/* ---- the machine ---------------------------------------------------------------------------------- */

static bool nodes_wanted(void)
{
	bool named = bits_next_set(near__conf.nodes, 0, OS_NODE_NUMBERS) < OS_NODE_NUMBERS;

	if (near__conf.numa != CONF_AUTO)
		return near__conf.numa == CONF_ON;
	return named || near__numa_listed() > 1;
}

/* What hands out 4 KiB at a time cannot bind pages of 64. */
static bool strict_wanted(void)
{
	if (!near__conf.numa_strict)
		return false;
	if (near__os_page_size > MAP_PAGE) {
		near__warn("numa_strict:true needs pages of %u bytes, these have %zu; not strict", (unsigned)MAP_PAGE,
			   near__os_page_size);
		return false;
	}
	if (near__conf.remote_free == CONF_REMOTE_ADOPT)
		near__warn("remote_free:adopt would mix nodes under numa_strict:true; kept at home");
	near__conf.remote_free = CONF_REMOTE_HOME;
	return true;
}

static bool make_heaps(void)
{
	/* Node 0 last: its heap is in use, and may name the others when all of them are there. */
	for (unsigned node = near__topology.nodes; node-- > 0;) {
		if (!near__heap_start(node))
			return false;
	}
	return true;
}

/* What was made before the nodes were known is on its own, and nobody has claimed it. */
static void settle_first_heap(void)
{
	near__extent_trim(0, 0, false);
	if (near__topology.strict) {
		near__trim(0);
		near__heap_populate(0);
	}
	near__region_bind(0);
	near__large_bind();
}

static void start_nodes(void)
{
	if (!nodes_wanted())
		return;
	if (near__numa_load()) {
		near__topology.strict = strict_wanted();
		if (make_heaps()) {
			store_release(&near__nodes, near__topology.nodes);
			settle_first_heap();
			return;
		}
	}
	near__numa_forget();
	if (near__conf.numa == CONF_ON)
		near__warn("numa:on, but there is one node only, or the memory policy is the user's; nothing is bound");
}

/* What the kernel says is believed, unless it is known for the contrary or somebody asks for a test. */
static enum near_mode test_mode(void)
{
	bool suspect = near__rseq_suspect();
	enum rseq_verdict verdict = suspect || near__conf.rseq == CONF_ON ? near__rseq_test() : RSEQ_UNKNOWN;

	reason = "rseq and membarrier answer";
	if (verdict == RSEQ_RESTARTS)
		reason = "rseq and membarrier answer, and sections restart when they are preempted";
	if (verdict == RSEQ_BROKEN)
		reason = "the kernel does not restart sections that it preempts";
	else if (suspect && verdict == RSEQ_UNKNOWN)
		reason = "the kernel may not restart sections that it preempts";
	else
		return NEAR_MODE_RSEQ;
	return NEAR_MODE_LOCKED;
}

static enum near_mode choose_mode(void)
{
	if (!NEAR_SECTIONS)
		reason = "built without restartable sequences";
	else if (near__conf.rseq == CONF_OFF)
		reason = "rseq:off was asked for";
	else if (!near__rseq_start())
		reason = "the kernel refuses rseq";
	else if (!near__membarrier_start())
		reason = "the kernel refuses membarrier for rseq";
	else
		return test_mode();
	return NEAR_MODE_LOCKED;
}

static bool holds_a_lock(void)
{
	return near__heap_lock_held() || near__cache_lock_held();
}

void near__after_fork(void)
{
	near__lock_forget_others();
	near__walk_after_fork();
	near__janitor_after_fork();
	near__limits_after_fork();
	near__cache_after_fork();
	near__heap_after_fork();
}

/* Made resident and freed again, each node's pool lies ready in its chunks. */
static void fill_pools(void)
{
	enum { PIECE = 512 << 10 };
	size_t most = near__conf.initial_pool ? near__os_memory() / 2 / near__nodes : 0, bytes;

	if (most && near__conf.initial_pool > most) {
		near__warn("initial_pool: more than half of the machine's memory; %zu bytes per node instead", most);
		near__conf.initial_pool = most;
	}
	for (unsigned node = 0; node < near__nodes; node++) {
		void *pieces = NULL, *piece;
		bool zeroed = false;

		for (bytes = 0; bytes < near__conf.initial_pool; bytes += PIECE) {
			piece = near__large_alloc(PIECE, 0, node, &zeroed);
			if (!piece)
				break;
			near__os_populate(piece, PIECE);
			*(void **)piece = pieces;
			pieces = piece;
		}
		if (bytes < near__conf.initial_pool)
			near__warn("initial_pool: no more than %zu bytes could be had", bytes);
		for (; pieces; pieces = piece) {
			piece = *(void **)pieces;
			near__free_slow(pieces, "initial_pool");
		}
	}
}

/* Before the constructors of the program and of most libraries, which may start threads. */
__attribute__((constructor(101))) static void start(void)
{
	enum near_mode mode;
	bool ready = near__init();
	int saved = errno;

	/* Though there be no memory now: a later call may find some, and then there are locks that forks meet. */
	near__os_holds_a_lock = holds_a_lock;
	near__os_after_fork = near__after_fork;
	near__os_mark_forks();
	pthread_atfork(near__os_forking, NULL, near__os_forked);
	if (!ready)
		return;
	read_options();
	if (complained && near__conf.abort_conf)
		near__die("abort_conf:true: a bad option is fatal");
	if (near__conf.thp == CONF_THP_ALWAYS)
		near__region_huge();
	start_nodes();
	errno = saved; /* of dlopen and libnuma; 0 when main begins */
	mode = choose_mode();
	if (near__conf.rseq == CONF_ON && mode != NEAR_MODE_RSEQ)
		near__warn("rseq:on, but %s; using locks", reason);
	if (!near__cache_start()) {
		reason = "no memory for the caches";
		return;
	}
	if (near__conf.confirm_conf)
		confirm_options();
	store_release(&near__mode, mode);
	if (mode == NEAR_MODE_RSEQ) {
		/* The constructor of a library may have started threads: they must not see the limits before the rest. */
		near__membarrier_fence_all();
		store_release(&near__pagemap_limit, (uintptr_t)PAGEMAP_ROOT_ENTRIES);
		store_release(&near__small_limit, (size_t)CLASS_TABLE_LARGEST + 1);
	}
	if (near__conf.initial_pool)
		fill_pools();
	if (near__conf.janitor == CONF_ON)
		near__janitor_start();
}
