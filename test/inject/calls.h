/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * The system calls of the library, and what each may answer: what its manual page says, what filters of sandboxes say
 * (EPERM, ENOSYS), and EINTR where a signal may interrupt it.
 *
 * Not here, for they cannot fail: gettid, getpid, sched_yield, rt_sigprocmask as it is called, and FUTEX_WAKE.
 */
#ifndef NEAR_INJECT_CALLS_H
#define NEAR_INJECT_CALLS_H

#include <errno.h>
#include <sys/syscall.h>

enum { CALL_ERRORS = 6 };

struct call {
	const char *name;
	long number;
	int errors[CALL_ERRORS]; /* ends with 0 */
};

static const struct call calls[] = {
	{"mmap", SYS_mmap, {ENOMEM, EAGAIN, EPERM}},
	{"munmap", SYS_munmap, {ENOMEM, EPERM}},
	{"mprotect", SYS_mprotect, {ENOMEM, EACCES, EPERM, ENOSYS}},
	{"madvise", SYS_madvise, {ENOMEM, EAGAIN, EINVAL, EINTR, EPERM, ENOSYS}},
	{"process_madvise", SYS_process_madvise, {ENOMEM, EAGAIN, EBADF, EINVAL, EPERM, ENOSYS}},
	{"mremap", SYS_mremap, {ENOMEM, EAGAIN, EFAULT, EPERM, ENOSYS}},
	{"mincore", SYS_mincore, {ENOMEM, EAGAIN, EPERM, ENOSYS}},
	{"brk", SYS_brk, {ENOMEM, EPERM}},
	{"mbind", SYS_mbind, {ENOMEM, EIO, EINVAL, EPERM, ENOSYS}},
	{"get_mempolicy", SYS_get_mempolicy, {EINVAL, EPERM, ENOSYS}},
	{"move_pages", SYS_move_pages, {ENOMEM, EACCES, ENODEV, EPERM, ENOSYS}},
	{"getcpu", SYS_getcpu, {EPERM, ENOSYS}},
	{"rseq", SYS_rseq, {EINVAL, EBUSY, EPERM, ENOSYS}},
	{"membarrier", SYS_membarrier, {ENOMEM, EINVAL, EPERM, ENOSYS}},
	{"sched_getaffinity", SYS_sched_getaffinity, {EINVAL, EPERM, ENOSYS}},
	{"clock_gettime", SYS_clock_gettime, {EINVAL, EPERM, ENOSYS}},
	{"futex", SYS_futex, {EINTR, EAGAIN, EPERM, ENOSYS}},
	{"openat", SYS_openat, {ENOMEM, EMFILE, EINTR, EACCES, EPERM, ENOSYS}},
	{"read", SYS_read, {EINTR, EAGAIN, EIO, EPERM}},
	{"pread64", SYS_pread64, {EINTR, EIO, EPERM}},
	{"close", SYS_close, {EINTR, EIO, EPERM}},
	{"write", SYS_write, {EINTR, EAGAIN, EIO, EPERM}},
	{"fcntl", SYS_fcntl, {EMFILE, EINTR, EPERM}},
	{"fstat", SYS_fstat, {ENOMEM, EPERM}},
	{"newfstatat", SYS_newfstatat, {ENOMEM, EACCES, EPERM}},
	{"prlimit64", SYS_prlimit64, {EPERM, ENOSYS}},
	{"prctl", SYS_prctl, {EINVAL, EPERM, ENOSYS}},
	{"clone3", SYS_clone3, {EAGAIN, ENOMEM, EPERM, ENOSYS}},
	{"clone", SYS_clone, {EAGAIN, ENOMEM, EPERM}},
};

enum { CALLS = sizeof(calls) / sizeof(calls[0]) };

/* How a program tells in which phase it is, and asks: prctl(PHASE_CALL, ...). Without supervisor the kernel answers EINVAL. */
enum {
	PHASE_CALL = 0x6e656172,
	PHASE_START = 0, /* until main begins */
	PHASE_LOAD,
	PHASE_RECOVER, /* no faults from now on */
	PHASE_MADE,    /* the answer is how many calls of the number given there were, */
	PHASE_FAILED,  /* and how many of them failed */
};

#endif
