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
