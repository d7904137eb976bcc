/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * What a program sees of nodes, for test/env/nodes.sh:
 *
 *   nodes may_bind                  whether binding can be expected here
 *   nodes under POLICY COMMAND...   the command with a memory policy set for it
 *   nodes on CPU COMMAND...         the command on one CPU
 *   nodes strictly                  node 0 has memory, the kernel refuses that of node 1, and nobody serves for it
 *   nodes home NUMBER               blocks have this home; -1: none
 *   nodes where_refused             move_pages is refused from some moment
 *   nodes bind_refused              mbind is refused from some moment; the report goes to stdout
 *   nodes until_none                small blocks until there are no more, twice
 *   nodes dealt_out NUMBER          CPUs belong to so many nodes in turn, and so does what is allocated there
 */
#include <linux/mempolicy.h>

#include <sched.h>

#include "filter.h"
#include "near/malloc.h"
#include "shadow.h"

#pragma weak near_malloc_on_node
#pragma weak near_node_of
#pragma weak near_node_pair
#pragma weak near_node_resident
#pragma weak near_node_sample
#pragma weak near_node_stats
#pragma weak near_realloc_on_node
#pragma weak near_report

static const char *argument;

static void mix(void)
{
	struct shadow s;

	shadow_open(&s, 300, 3u << 20, 21);
	shadow_steps(&s, 4000);
	shadow_check_overlap(&s);
	shadow_close(&s);
	malloc_trim(0);
}

static void may_bind(void)
{
	unsigned long mask = 1;
	int policy = -1;
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (syscall(SYS_get_mempolicy, &policy, NULL, 0, NULL, 0) != 0 || policy != MPOL_DEFAULT ||
	    syscall(SYS_mbind, page, 4096, MPOL_PREFERRED, &mask, 64, 0) != 0)
		skip("get_mempolicy or mbind is refused here");
}

static int under(char **argv)
{
	static const struct {
		const char *name;
		int policy;
	} policies[] = {{"preferred", MPOL_PREFERRED}, {"bind", MPOL_BIND}, {"interleave", MPOL_INTERLEAVE}};
	unsigned long mask = 1;

	for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
		if (strcmp(policies[i].name, argv[2]) == 0)
			CHECK(syscall(SYS_set_mempolicy, policies[i].policy, &mask, 64) == 0);
	}
	execvp(argv[3], argv + 3);
	return 127;
}

static void home(void)
{
	int wanted = atoi(argument);

	for (size_t size = 1; size < 9u << 20; size = size * 3 + 1) {
		char *p = opaque(malloc(size));

		CHECK(p != NULL && near_node_of(p + size / 2) == wanted);
		free(p);
	}
	mix();
}

/* filter.h knows the calls of malloc and free; this one is of the figures only. */
static void refuse_move_pages(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_move_pages, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};

	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

static void where_refused(void)
{
	size_t counts[1024];
	struct near_node_stats stats;
	void *p = opaque(malloc(100));

	refuse_move_pages();
	errno = 0;
	CHECK(near_node_resident(p, 100, counts) == -1 && errno == EPERM);
	errno = 0;
	CHECK(near_node_sample(0, 100, counts) == -1 && errno == EPERM);
	CHECK(near_node_stats(0, &stats, sizeof(stats)) == 0 && near_node_of(p) == 0);
	mix();
	CHECK(near_report(1) == 0);
}

static void bind_refused(void)
{
	void *p;

	mix();
	CHECK(filter_install("mbind", EPERM) == 0);
	p = opaque(near_malloc_on_node(5u << 20, 0));
	CHECK(p != NULL && near_node_of(p) == 0);
	memset(p, 1, 5u << 20);
	p = opaque(realloc(p, 50u << 20));
	CHECK(p != NULL);
	memset(p, 1, 50u << 20);
	mix();
	CHECK(near_report(1) == 0);
}

static void strictly(void)
{
	for (size_t size = 1; size < 9u << 20; size = size * 3 + 1) {
		char *p = opaque(near_malloc_on_node(size, 0));

		CHECK(p != NULL && near_node_of(p) == 0);
		p[size - 1] = 77;
		errno = 0;
		CHECK(opaque(near_malloc_on_node(size, 1)) == NULL && errno == ENOMEM);
		errno = 0;
		CHECK(opaque(near_realloc_on_node(p, 2 * malloc_usable_size(p), 1)) == NULL && errno == ENOMEM);
		errno = 0;
		CHECK(opaque(near_realloc_on_node(p, size, 1)) == NULL && errno == ENOMEM);
		CHECK(near_node_of(p) == 0 && p[size - 1] == 77);
		free(p);
	}
	mix();
	CHECK(near_malloc_on_node(1, 1) == NULL);
}

static size_t as_many_as_there_are(void)
{
	void **top = NULL, **next;
	size_t n = 0;

	for (; (next = opaque(malloc(100))) != NULL; n++) {
		memset(next, 1, 100);
		*next = top;
		top = next;
	}
	CHECK(errno == ENOMEM);
	for (; top != NULL; top = next) {
		next = *top;
		free(top);
	}
	return n;
}

static void until_none(void)
{
	size_t first = as_many_as_there_are(), second = as_many_as_there_are();

	CHECK(first > 100 && second >= first - first / 10);
}

/* Goes to the CPU; false when it may not. */
static bool on_cpu(int cpu)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET((size_t)cpu, &one);
	return sched_setaffinity(0, sizeof(one), &one) == 0;
}

enum { CPUS = 8, EACH = 5000 };

static void *dealt[CPUS][EACH];

/* Memory has the node of the CPU; a block may be had for, or moved to, any. */
static void blocks_of_cpu(int cpu, int nodes)
{
	for (int i = 0; i < EACH; i++) {
		size_t size = 1 + (size_t)i % 700 + (i % 1000 == 0) * 2000000u;

		dealt[cpu][i] = opaque(malloc(size));
		CHECK(near_node_of(dealt[cpu][i]) == cpu % nodes);
	}
	for (int node = 0; node < nodes; node++) {
		char *p = opaque(near_malloc_on_node(1000, node));

		CHECK(p != NULL && near_node_of(p + 999) == node);
		memset(p, node, 1000);
		p = opaque(near_realloc_on_node(p, 300000, (node + 1) % nodes));
		CHECK(p != NULL && near_node_of(p + 299999) == (node + 1) % nodes && p[999] == (char)node);
		p = opaque(near_realloc_on_node(p, 3000000, node));
		CHECK(p != NULL && near_node_of(p + 2999999) == node && p[999] == (char)node);
		free(p);
	}
}

static void dealt_out(void)
{
	int nodes = atoi(argument);
	bool there[CPUS];

	for (int generation = 0; generation < 4; generation++) {
		for (int cpu = 0; cpu < CPUS; cpu++) {
			there[cpu] = on_cpu(cpu);
			if (there[cpu])
				blocks_of_cpu(cpu, nodes);
		}
		for (int cpu = 0; cpu < CPUS; cpu++) { /* each frees what another has allocated */
			int from = (cpu + 1) % CPUS;

			while (!there[from])
				from = (from + 1) % CPUS;
			if (!on_cpu(cpu))
				continue;
			for (int i = 0; i < EACH; i++)
				free(dealt[from][i]);
		}
	}
	errno = 0;
	CHECK(near_malloc_on_node(1, nodes) == NULL && errno == EINVAL);
	if (there[0] && there[1] && nodes > 1) {
		struct near_node_pair pair;

		CHECK(near_node_pair(0, 1, &pair, sizeof(pair)) == 0);
		CHECK(pair.freed > EACH && pair.freed_bytes > pair.freed * 16 && pair.distance == 21);
	}
}

int main(int argc, char **argv)
{
	static const struct test_case cases[] = {
		{"may_bind", may_bind},		  {"strictly", strictly},	  {"home", home},
		{"where_refused", where_refused}, {"bind_refused", bind_refused}, {"until_none", until_none},
		{"dealt_out", dealt_out},
	};

	if (argc > 3 && strcmp(argv[1], "under") == 0)
		return under(argv);
	if (argc > 3 && strcmp(argv[1], "on") == 0 && on_cpu(atoi(argv[2])))
		return execvp(argv[3], argv + 3), 127;
	argument = argc > 2 ? argv[2] : "-1";
	return RUN_CASE(argc, argv, cases);
}
