/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* Breakpoints and the instruction pointer on each machine. */
#ifndef NEAR_TEST_TRACE_MACHINE_H
#define NEAR_TEST_TRACE_MACHINE_H

#include <elf.h>
#include <stdint.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <ucontext.h>

#if defined(__x86_64__)
static const unsigned char breakpoint[] = {0xcc}; /* int3 */
enum { BREAKPOINT_PASSED = 1 };			  /* the instruction pointer stands so far behind it */
#define MACHINE_NAME	  "x86-64"
#define MACHINE_REGISTERS struct user_regs_struct
#define MACHINE_IP	  rip
#elif defined(__aarch64__)
static const unsigned char breakpoint[] = {0x00, 0x00, 0x20, 0xd4}; /* brk #0 */
enum { BREAKPOINT_PASSED = 0 };
#define MACHINE_NAME	  "aarch64"
#define MACHINE_REGISTERS struct user_regs_struct
#define MACHINE_IP	  pc
#endif

/* The instruction pointer of a stopped thread, now and, if `next` is not 0, from here on. */
static inline uint64_t machine_ip(pid_t thread, uint64_t next)
{
	MACHINE_REGISTERS registers;
	struct iovec part = {&registers, sizeof(registers)};
	uint64_t ip;

	if (ptrace(PTRACE_GETREGSET, thread, (void *)NT_PRSTATUS, &part))
		return 0;
	ip = registers.MACHINE_IP;
	registers.MACHINE_IP = next;
	if (next && ptrace(PTRACE_SETREGSET, thread, (void *)NT_PRSTATUS, &part))
		return 0;
	return ip;
}

static inline uint64_t machine_interrupted(const void *context)
{
	const ucontext_t *at = context;

#if defined(__x86_64__)
	return (uint64_t)at->uc_mcontext.gregs[REG_RIP];
#else
	return at->uc_mcontext.pc;
#endif
}

#endif
