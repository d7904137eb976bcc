/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Registration of restartable sequences.
 *
 * glibc 2.35 and later registers each thread and says where its area lies. Where libc does not (older, musl, or
 * switched off by a tunable) each thread registers an area of our own the first time it meets the slow path.
 * That area is the allocator's only thread-local variable; it holds nothing but what the kernel writes. The
 * fields of libc's area are never written: its cpu_id belongs to the kernel.
 */
#include "arch/sections.h"
#include "os/kernel.h"
#include "os/os.h"

#include <features.h>
#include <linux/sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>

enum { AREA_BYTES = 32, CPU_UNREGISTERED = -1, CPU_FAILED = -2 };

ptrdiff_t near__rseq_offset;

/* Weak where an older libc may be met at run time; in a static program a weak reference would not pull them in. */
#if defined(PIC) || !defined(__GLIBC__) || !__GLIBC_PREREQ(2, 35)
#define MAYBE WEAK
#else
#define MAYBE
#endif

extern const ptrdiff_t __rseq_offset MAYBE;
extern const unsigned int __rseq_size MAYBE;

static bool libc_registers(void)
{
	const unsigned int *volatile size = &__rseq_size;

	return size && *size; /* glibc says 0 when it was told not to */
}

struct area {
	uint32_t cpu_id_start;
	int32_t cpu_id;
	uint64_t section;
	uint32_t flags;
	uint32_t more[3];
} ALIGNED(32);

_Static_assert(sizeof(struct area) == AREA_BYTES, "the size of the original ABI, accepted by every kernel");

static __thread struct area own __attribute__((tls_model("initial-exec"))) = {.cpu_id = CPU_UNREGISTERED};
static bool self_registering;

bool near__rseq_register_thread(void)
{
	if (!self_registering || own.cpu_id == CPU_FAILED)
		return false;
	if (own.cpu_id >= 0)
		return true;
	/* A signal handler may have been quicker; then the area is the kernel's to write. */
	if (KERNEL(SYS_rseq, &own, AREA_BYTES, 0, RSEQ_SIGNATURE) && load_relaxed(&own.cpu_id) < 0)
		store_relaxed(&own.cpu_id, (int32_t)CPU_FAILED);
	return load_relaxed(&own.cpu_id) >= 0;
}

bool near__rseq_start(void)
{
	if (!NEAR_SECTIONS)
		return false;
	if (libc_registers()) {
		near__rseq_offset = __rseq_offset;
		return rseq_cpu_id() >= 0;
	}
	near__rseq_offset = (ptrdiff_t)((uintptr_t)&own - thread_pointer());
	self_registering = true;
	return near__rseq_register_thread();
}

/* ---- does the kernel restart them? ------------------------------------------------------------------ */

/* Linux 6.19 to 7.0.13. */
bool near__rseq_suspect(void)
{
#if defined(__aarch64__)
	struct utsname name;

	return KERNEL(SYS_uname, &name) || !strncmp(name.release, "6.19", 4) || !strncmp(name.release, "7.0", 3);
#else
	return false;
#endif
}

enum { TRIALS = 16, MOST_MS = 500, TURNS = 100000, NAP_NS = 20000, NAPS_MOST = 100000 };

/* The child wakes up again and again on the only CPU that both may use, and every time leaves a sign. */
static _Noreturn void keep_preempting(uint32_t *sign)
{
	struct timespec nap = {.tv_nsec = NAP_NS};

	KERNEL(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL);
	for (int i = 0; i < NAPS_MOST; i++) {
		KERNEL(SYS_nanosleep, &nap, NULL);
		store_relaxed(sign, load_relaxed(sign) + 1);
	}
	for (;;)
		KERNEL(SYS_exit_group, 0);
}

/* A sign that is seen inside a section says that the child ran meanwhile, and the section went on. */
static enum rseq_verdict watch(const uint32_t *sign)
{
	uint64_t end = near__os_milliseconds() + MOST_MS;
	unsigned restarts = 0;

	while (restarts < TRIALS && near__os_milliseconds() < end) {
		uint32_t before = load_relaxed(sign);
		int saw = section_watch(near__rseq_offset, sign, TURNS);

		if (saw == WATCH_CHANGED)
			return RSEQ_BROKEN;
		restarts += saw == WATCH_ABORTED && load_relaxed(sign) != before;
	}
	return restarts == TRIALS ? RSEQ_RESTARTS : RSEQ_UNKNOWN;
}

static enum rseq_verdict watch_child(uint32_t *sign)
{
	enum rseq_verdict verdict;
	long child = KERNEL(SYS_clone, 0, 0, 0, 0, 0); /* fork, without handlers and without SIGCHLD */

	if (child < 0)
		return RSEQ_UNKNOWN;
	if (!child)
		keep_preempting(sign);
	verdict = watch(sign);
	KERNEL(SYS_kill, child, SIGKILL);
	while (KERNEL(SYS_wait4, child, NULL, __WALL, NULL) == -EINTR)
		continue;
	return verdict;
}

enum rseq_verdict near__rseq_test(void)
{
	static uint64_t before[OS_MAX_CPUS / 64], one[OS_MAX_CPUS / 64];
	enum rseq_verdict verdict = RSEQ_UNKNOWN;
	long bytes = KERNEL(SYS_sched_getaffinity, 0, sizeof(before), before);
	unsigned cpu = (unsigned)rseq_cpu_id();
	void *page = kernel_pointer(
		KERNEL(SYS_mmap, 0, near__os_page_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));

	if (page && bytes > 0 && cpu < OS_MAX_CPUS) {
		one[cpu / 64] = 1ull << cpu % 64;
		if (!KERNEL(SYS_sched_setaffinity, 0, bytes, one)) {
			verdict = watch_child(page);
			KERNEL(SYS_sched_setaffinity, 0, bytes, before);
		}
		one[cpu / 64] = 0;
	}
	if (page)
		near__os_unmap(page, near__os_page_size);
	return verdict;
}
