/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Cases of the interface tests that need a process of their own under other options: the same program again, for one
 * case, before Criterion and behind the library's own start. CHECK says what is wrong; a child that says anything has
 * failed.
 */
#ifndef NEAR_TEST_CHILD_H
#define NEAR_TEST_CHILD_H

#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "config.h"

#include "api.h"
#include "near/malloc.h"

#define CASE_VARIABLE "NEAR_API_CASE"

/* Call from a constructor of each file with cases. */
static inline void child_case(const struct test_case *cases, size_t count)
{
	const char *name = getenv(CASE_VARIABLE);

	for (size_t i = 0; name != NULL && i < count; i++) {
		if (strcmp(cases[i].name, name) != 0)
			continue;
		errno = 4711;
		cases[i].run();
		_exit(0);
	}
}

static inline void run_in_child(const char *name, const char *options)
{
	const char *inherited = getenv("NEARMALLOC_CONF");
	char conf[512], said[4096];
	int status, out[2];
	ssize_t n, length = 0;
	pid_t child;

	snprintf(conf, sizeof(conf), "%s,%s", inherited ? inherited : "", options);
	cr_assert_eq(pipe(out), 0);
	child = fork();
	cr_assert_geq(child, 0);
	if (child == 0) {
		dup2(out[1], 1);
		dup2(out[1], 2);
		alarm(60);
		setenv("NEARMALLOC_CONF", conf, 1);
		setenv(CASE_VARIABLE, name, 1);
		execl("/proc/self/exe", "api-tests", (char *)NULL);
		_exit(127);
	}
	close(out[1]);
	while ((n = read(out[0], said + length, sizeof(said) - 1 - (size_t)length)) > 0)
		length += n;
	said[length] = '\0';
	close(out[0]);
	cr_assert_eq(waitpid(child, &status, 0), child);
	if (WIFEXITED(status) && WEXITSTATUS(status) == SKIP_STATUS)
		cr_skip_test("%s", said);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s under %s: status %x, said: %s", name, options,
		  status, said);
	cr_assert_str_eq(said, "", "%s under %s said: %s", name, options, said);
}

static inline size_t page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

/* Whether nodes:0 can be expected to bind. */
static inline bool may_bind(void)
{
	unsigned long mask = 1;
	int policy = -1;
	void *page = mmap(NULL, page_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return NEAR_WITH_NUMA && syscall(SYS_get_mempolicy, &policy, NULL, 0, NULL, 0) == 0 && policy == MPOL_DEFAULT &&
	       syscall(SYS_mbind, page, page_size(), MPOL_PREFERRED, &mask, 64, 0) == 0;
}

static inline void run_bound(const char *name, const char *options)
{
	if (!may_bind())
		cr_skip_test("mbind is refused, or libnuma left out");
	run_in_child(name, options);
}

/* A case, with nothing bound, with all of it bound to node 0, and strictly so. */
#define CHILD_TESTS(suite, name)                              \
	Test(suite, name, .timeout = 90)                      \
	{                                                     \
		run_in_child(#name, "");                      \
	}                                                     \
	Test(suite##_bound, name, .timeout = 90)              \
	{                                                     \
		run_bound(#name, "nodes:0");                  \
	}                                                     \
	Test(suite##_strict, name, .timeout = 90)             \
	{                                                     \
		run_bound(#name, "nodes:0,numa_strict:true"); \
	}

/* ---- what the cases share ------------------------------------------------------------------------------ */

/* A node with memory: there is one in any machine. */
static inline int some_node(void)
{
	for (int node = 0; node <= near_max_node(); node++) {
		void *p = near_malloc_on_node(1, node);

		free(p);
		if (p != NULL)
			return node;
	}
	CHECK(!"a node with memory");
	return -1;
}

static inline void expect_error(bool failed, int wanted)
{
	CHECK(failed);
	CHECK(errno == wanted);
	errno = 4711;
}

static inline bool filled_with(const unsigned char *p, unsigned char byte, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (p[i] != byte)
			return false;
	}
	return true;
}

static inline size_t sum(const size_t *counts)
{
	size_t n = 0;

	for (int node = 0; node <= near_max_node(); node++)
		n += counts[node];
	return n;
}

/* Sandboxes may refuse the question. */
static inline bool kernel_tells(void)
{
	int status = 0, on_stack;
	void *page = &on_stack;

	return syscall(SYS_move_pages, 0, 1, &page, NULL, &status, 0) == 0;
}

static inline size_t resident(const void *start, size_t length)
{
	size_t counts[1024];

	memset(counts, 0xee, sizeof(counts));
	errno = 4711;
	CHECK(near_node_resident(start, length, counts) == 0);
	CHECK(errno == 4711);
	CHECK(counts[near_max_node() + 1] == (size_t)-1 / 255 * 0xee);
	return sum(counts);
}

#endif
