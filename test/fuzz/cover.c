/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Linked into what is measured: processes that end without exit() leave their counts behind too. The definitions stand
 * before libc's; in a program that has them beside the library each calls the next.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

#define FIRST __attribute__((visibility("default")))

void __gcov_dump(void);

static void *next(const char *name)
{
	__gcov_dump();
	return dlsym(RTLD_NEXT, name);
}

FIRST _Noreturn void _exit(int status)
{
	((void (*)(int))next("_exit"))(status);
	__builtin_unreachable();
}

FIRST _Noreturn void _Exit(int status)
{
	_exit(status);
}

FIRST _Noreturn void abort(void)
{
	((void (*)(void))next("abort"))();
	__builtin_unreachable();
}
