/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Lets the library's system calls fail: each call at each index with each of its errors, once, three times in a row, and
 * from there on until the program says that faults end.
 *
 *   inject [OPTION]... LIBRARY PROGRAM ARGUMENT...
 *
 *   --runs N          at most so many runs for each call, evenly spread over index, error and length
 *   --only CALL       of this call alone
 *   --one CALL:INDEX:TIMES:ERRNO   one run, and what it printed
 *   --table FILE      adds a line for each call: call, seen, runs, and how many of each outcome (trace.h)
 *
 * Status: 0 all runs ended well, 1 one did not, 2 it cannot be done.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "trace.h"

enum { SECONDS = 30, SHOWN = 8 };

static const unsigned lengths[] = {1, 3, TIMES_ALL};
enum { LENGTHS = sizeof(lengths) / sizeof(lengths[0]) };

static const char *const outcome_names[OUTCOMES] = {"not reached", "worked", "refused", "ended by libc",
						    "wrong",	   "killed", "hung"};

static const char *library, *only, *table;
static char **program;
static unsigned long most = ~0ul;

static bool is_bad(enum outcome outcome)
{
	return outcome >= OUTCOME_WRONG;
}

static void *shared(size_t bytes)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED) {
		perror("mmap");
		exit(2);
	}
	return at;
}

static void show(const struct plan *plan, const struct run *run)
{
	printf("%s: --one %s:%u:%u:%d: status %x, phase %u\n", outcome_names[run->outcome],
	       plan->call < 0 ? "none" : calls[plan->call].name, plan->index, plan->times, plan->error,
	       (unsigned)run->status, run->phase);
	fputs(run->output, stdout);
}

/* ---- the plans ---------------------------------------------------------------------------------------- */

/* Interrupted for ever is nobody's call, and who does not sleep wakes at once. */
static bool is_plausible(const struct plan *plan)
{
	return plan->error != EINTR || plan->times != TIMES_ALL;
}

/* The plans of one call; those that `plans` has room for: NULL for none. */
static unsigned long plans_of(int call, unsigned seen, struct plan *plans)
{
	unsigned long n = 0;

	for (unsigned k = 0; k < seen * CALL_ERRORS * LENGTHS; k++) {
		struct plan plan = {.call = call,
				    .index = k / LENGTHS / CALL_ERRORS,
				    .times = lengths[k % LENGTHS],
				    .error = calls[call].errors[k / LENGTHS % CALL_ERRORS]};

		if (!plan.error || !is_plausible(&plan))
			continue;
		if (plans)
			plans[n] = plan;
		n++;
	}
	return n;
}

/* Of n plans `most`, evenly spread. */
static unsigned long thin_out(struct plan *plans, unsigned long n)
{
	unsigned long kept = n < most ? n : most;

	for (unsigned long i = 0; i < kept; i++)
		plans[i] = plans[i * n / kept];
	return kept;
}

static unsigned long make_plans(const unsigned *seen, struct plan **plans)
{
	unsigned long room = 0, n = 0;

	for (int call = 0; call < CALLS; call++)
		room += plans_of(call, seen[call], NULL);
	*plans = shared((room + 1) * sizeof(**plans));
	for (int call = 0; call < CALLS; call++) {
		if (!only || !strcmp(only, calls[call].name))
			n += thin_out(*plans + n, plans_of(call, seen[call], *plans + n));
	}
	return n;
}

/* ---- running ------------------------------------------------------------------------------------------ */

static void run_plans(const struct plan *plans, struct run *runs, unsigned long n)
{
	unsigned workers = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
	unsigned long *next = shared(sizeof(*next));

	for (unsigned w = 0; w < workers; w++) {
		if (fork())
			continue;
		for (unsigned long i; (i = __atomic_fetch_add(next, 1, __ATOMIC_RELAXED)) < n;)
			trace_run(&plans[i], program, library, SECONDS, &runs[i]);
		_exit(0);
	}
	while (wait(NULL) > 0)
		continue;
}

static void add_to_table(const unsigned *seen, const struct plan *plans, const struct run *runs, unsigned long n)
{
	FILE *out = fopen(table, "a");

	for (int call = 0; out && call < CALLS; call++) {
		unsigned long counts[OUTCOMES] = {0}, all = 0;

		for (unsigned long i = 0; i < n; i++) {
			if (plans[i].call == call) {
				counts[runs[i].outcome]++;
				all++;
			}
		}
		if (!seen[call])
			continue;
		fprintf(out, "%s %u %lu", calls[call].name, seen[call], all);
		for (unsigned o = 0; o < OUTCOMES; o++)
			fprintf(out, " %lu", counts[o]);
		fputc('\n', out);
	}
	if (out)
		fclose(out);
}

static int sweep(void)
{
	struct plan none = {.call = -1}, *plans;
	struct run first, *runs;
	unsigned long n, bad = 0, injected = 0, refused = 0;

	trace_run(&none, program, library, SECONDS, &first);
	if (first.outcome != OUTCOME_NOT_REACHED) {
		show(&none, &first);
		return 2;
	}
	n = make_plans(first.seen, &plans);
	if (!n) {
		puts("the library makes none of these calls");
		return 2;
	}
	runs = shared(n * sizeof(*runs));
	run_plans(plans, runs, n);
	for (unsigned long i = 0; i < n; i++) {
		injected += runs[i].injected;
		refused += runs[i].outcome == OUTCOME_REFUSED;
		if (is_bad(runs[i].outcome) && bad++ < SHOWN)
			show(&plans[i], &runs[i]);
	}
	if (table)
		add_to_table(first.seen, plans, runs, n);
	printf("%lu runs, %lu calls failed, %lu runs with refusals, %lu went wrong\n", n, injected, refused, bad);
	return bad != 0;
}

static int run_one(char *text)
{
	struct plan plan = {.call = -1};
	struct run run;
	const char *name = strtok(text, ":"), *numbers = strtok(NULL, "");

	for (int call = 0; name && call < CALLS; call++) {
		if (!strcmp(calls[call].name, name))
			plan.call = call;
	}
	if (plan.call < 0 || !numbers || sscanf(numbers, "%u:%u:%d", &plan.index, &plan.times, &plan.error) != 3)
		return 2;
	trace_run(&plan, program, library, SECONDS, &run);
	show(&plan, &run);
	printf("%u injected\n", run.injected);
	return is_bad(run.outcome);
}

int main(int argc, char **argv)
{
	char *one = NULL;
	int i = 1;

	for (; i + 1 < argc && argv[i][0] == '-'; i += 2) {
		if (!strcmp(argv[i], "--runs"))
			most = strtoul(argv[i + 1], NULL, 10);
		else if (!strcmp(argv[i], "--only"))
			only = argv[i + 1];
		else if (!strcmp(argv[i], "--one"))
			one = argv[i + 1];
		else if (!strcmp(argv[i], "--table"))
			table = argv[i + 1];
	}
	if (i + 1 >= argc) {
		fputs("usage: inject [OPTION]... LIBRARY PROGRAM ARGUMENT...\n", stderr);
		return 2;
	}
	library = argv[i];
	program = argv + i + 1;
	return one ? run_one(one) : sweep();
}
