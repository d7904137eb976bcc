/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* Seccomp filters by hand: some system calls of this process and its children are answered with an error. */
#ifndef NEAR_TEST_FILTER_H
#define NEAR_TEST_FILTER_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "check.h"

struct filtered_call {
	const char *name;
	unsigned number;
};

static const struct filtered_call filtered_calls[] = {
	{"rseq", SYS_rseq},	      {"membarrier", SYS_membarrier},
	{"mbind", SYS_mbind},	      {"get_mempolicy", SYS_get_mempolicy},
	{"getcpu", SYS_getcpu},	      {"madvise", SYS_madvise},
	{"mremap", SYS_mremap},	      {"prctl", SYS_prctl},
	{"getrandom", SYS_getrandom}, {"sched_getaffinity", SYS_sched_getaffinity},
	{"clone3", SYS_clone3},	      {"clone", SYS_clone},
	{"process_madvise", SYS_process_madvise},
};

enum { FILTERED_CALLS = sizeof(filtered_calls) / sizeof(filtered_calls[0]) };

/* "all" or one of the names; -1 for an unknown name. */
static inline int filter_install(const char *name, int error)
{
	struct sock_filter code[2 * FILTERED_CALLS + 2];
	struct sock_fprog program = {.filter = code};
	unsigned short length = 0;

	code[length++] =
		(struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (unsigned i = 0; i < FILTERED_CALLS; i++) {
		if (strcmp(name, "all") != 0 && strcmp(name, filtered_calls[i].name) != 0)
			continue;
		code[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
							      filtered_calls[i].number, 0, 1);
		code[length++] =
			(struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error);
	}
	if (length == 1)
		return -1;
	code[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	program.len = length;
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	/* TSYNC: threads that run already are bound by it too */
	CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0);
	return 0;
}

static inline int filter_error(const char *name)
{
	return strcmp(name, "EPERM") == 0 ? EPERM : strcmp(name, "EACCES") == 0 ? EACCES : ENOSYS;
}

#endif
