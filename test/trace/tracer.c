/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * tracer [-l LIBRARY] [-r ROUNDS] [-s SEED] [-f FUNCTION,...] [-i] [-v] POINTS PROGRAM
 *
 * Stops the worker of PROGRAM (tracee.c) at each instruction of each critical section of the LIBRARY that is preloaded,
 * and does there what can happen to it: preempts it, moves it to another CPU, sends it a signal, drains the CPU, forks.
 * POINTS are lines `KIND FUNCTION START END ABORT ADDRESS...`, relative to the library: see list_points in lib.sh.
 *
 * A stop of a thread is a preemption. While it lasts the registers are those of the instruction where the breakpoint
 * stood; as the thread goes on, or is given a signal, the kernel finds that instruction inside [START, END) of the armed
 * section and sends it to ABORT. So a breakpoint can be hit inside of a section, but not stepped over, and what the
 * section did until then is what a preemption there leaves behind. The abort is seen, by a breakpoint at ABORT or by the
 * signal handler as the place that it will return to; without it the point has failed.
 *
 * -i: aborts are not looked at, the invariants only. -f: sections in these functions only. -v: a line for each section.
 * Status 0: all is well; 1: not; 2: cannot be run; 3: some points, named in lines `unreached ...`, were not reached.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "machine.h"
#include "random.h"
#include "share.h"

enum { MOST_SECTIONS = 200, MOST_POINTS = 40, TOURS = 60, MANY_TOURS = 600, PATIENCE = 60 };

enum injection { PREEMPT, MIGRATE, SIGNAL, DRAIN, FORK, FORK_SELF, INJECTIONS };
static const char *const injection_name[] = {"preempted", "migrated", "signalled",
					     "drained",	  "forked",   "forked itself"};

static const enum errand errands[] = {
	[PREEMPT] = ERRAND_RIVAL, [MIGRATE] = ERRAND_RIVAL,   [DRAIN] = ERRAND_DRAIN,
	[FORK] = ERRAND_FORK,	  [FORK_SELF] = ERRAND_CHILD,
};

struct section {
	char kind[32], function[64];
	uint64_t start, end, abort, point[MOST_POINTS];
	unsigned points, injections, aborts;
	unsigned char applied[MOST_POINTS]; /* a bit for each injection */
};

static struct section sections[MOST_SECTIONS];
static unsigned count;

static const char *library, *program, *functions;
static bool aborts_ignored, verbose;
static pid_t worker;
static int memory; /* of the worker */
static struct share *share;
static uint64_t chance = 1, load;
static cpu_set_t cpus;
static int cpu; /* the worker's */
static unsigned long tours, done[INJECTIONS], aborts;
static char at[200]; /* what is being done, for messages */

static void fail(int status, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	printf("%s%s", at, *at ? ": " : "");
	vprintf(format, arguments);
	printf("\n");
	va_end(arguments);
	fflush(stdout);
	if (worker)
		kill(worker, SIGKILL);
	exit(status);
}

/* ---- the worker ------------------------------------------------------------------------------------- */

static void on_alarm(int number)
{
	(void)number;
}

/* Goes on, with a signal or without; returns where it stops, or 0 at the end of the tour. */
static uint64_t go_on(int number)
{
	siginfo_t info;
	int status;

	do {
		if (ptrace(PTRACE_CONT, worker, NULL, (void *)(intptr_t)number))
			fail(1, "the worker is gone: %s", strerror(errno));
		alarm(PATIENCE);
		if (waitpid(worker, &status, __WALL) != worker)
			fail(1, "the worker hangs");
		alarm(0);
		if (WIFEXITED(status) || WIFSIGNALED(status))
			fail(1, "the program ended, status %#x", (unsigned)status);
		number = WSTOPSIG(status);
	} while (number == SIGCHLD);
	if (number != SIGTRAP || ptrace(PTRACE_GETSIGINFO, worker, NULL, &info))
		fail(1, "the worker got signal %d", number);
	return info.si_code == SI_TKILL ? 0 : machine_ip(worker, 0) - BREAKPOINT_PASSED;
}

static void write_text(uint64_t address, const void *bytes)
{
	if (pwrite(memory, bytes, sizeof(breakpoint), (off_t)address) != sizeof(breakpoint))
		fail(2, "cannot write to the text: %s", strerror(errno));
}

/* Lets the worker go on until it comes to the instruction, and stands before it; or to the end of the tour: false. */
static bool comes_to(uint64_t address)
{
	unsigned char replaced[sizeof(breakpoint)];
	uint64_t ip;

	if (pread(memory, replaced, sizeof(replaced), (off_t)address) != sizeof(replaced))
		fail(2, "cannot read the text: %s", strerror(errno));
	write_text(address, breakpoint);
	ip = go_on(0);
	write_text(address, replaced);
	if (ip && ip != address)
		fail(1, "stopped at %#lx", (long)(ip - load));
	if (ip)
		machine_ip(worker, address);
	return ip != 0;
}

static void end_tour(void)
{
	uint64_t ip = go_on(0);

	if (ip)
		fail(1, "stopped at %#lx", (long)(ip - load));
}

static void errand(enum errand errand, int where)
{
	uint32_t before = share->asked;

	share->errand = errand;
	share->cpu = where;
	share_tell(&share->asked, before + 1);
	if (!share_wait(&share->done, before, PATIENCE))
		fail(1, "the helper hangs");
}

/* One of those that we may use, but not this one, if there are others. */
static int other_cpu(int than)
{
	int others = CPU_COUNT(&cpus) - (than >= 0), skip;

	if (!others)
		return than;
	skip = (int)random_below(&chance, (uint64_t)others);
	for (int i = 0;; i++) {
		if (CPU_ISSET(i, &cpus) && i != than && skip-- == 0)
			return i;
	}
}

static void move_worker(int to)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(to, &set);
	if (sched_setaffinity(worker, sizeof(set), &set))
		fail(2, "cannot move the worker: %s", strerror(errno));
	cpu = to;
}

/* ---- one injection ---------------------------------------------------------------------------------- */

/* What happens while the worker stands still. */
static void inject(enum injection injection)
{
	share->errand = errands[injection];
	if (injection == SIGNAL || injection == FORK_SELF)
		return;
	errand(errands[injection], cpu);
	if (injection != MIGRATE)
		return;
	move_worker(other_cpu(cpu));
	if (random_below(&chance, 2))
		errand(ERRAND_RIVAL, cpu);
}

static void expect_abort(struct section *s)
{
	if (!comes_to(s->abort))
		fail(1, "it was not aborted");
	s->aborts++;
	end_tour();
}

static void expect_abort_under_signal(struct section *s, bool inside)
{
	uint64_t before = share->handled;

	if (go_on(SIGUSR1))
		fail(1, "stopped at a breakpoint that is not there");
	if (share->handled != before + 1)
		fail(1, "the signal was lost");
	if (!inside)
		return;
	if (share->interrupted == s->abort)
		s->aborts++;
	else if (!aborts_ignored)
		fail(1, "it was not aborted under the signal");
}

static void apply(struct section *s, uint64_t point, enum injection injection)
{
	bool inside = point >= s->start && point < s->end;

	inject(injection);
	if (injection == SIGNAL || injection == FORK_SELF)
		expect_abort_under_signal(s, inside);
	else if (inside && !aborts_ignored)
		expect_abort(s);
	else
		end_tour();
	s->injections++;
	done[injection]++;
}

/*
 * What follows the test in a section whose bin was just found empty or full is reached only if somebody changed that
 * before it began: the helper does, while the worker stands at the entry.
 */
static bool disturb(struct section *s, uint64_t point, enum errand how)
{
	if (!comes_to(s->point[0]))
		return false;
	errand(how, cpu);
	return comes_to(point);
}

/* Whether the worker came to the point, in some tour: it may take many where it came to the section at all. */
static bool reach(struct section *s, unsigned p)
{
	int most = s->applied[0] ? MANY_TOURS : TOURS;

	for (int i = 0; i < most; i++) {
		enum errand how = i % 2 == 0 || p == 0 ? ERRAND_NONE : i % 4 == 1 ? ERRAND_POP : ERRAND_PUSH;

		tours++;
		share->seed = random_next(&chance);
		if (how == ERRAND_NONE ? comes_to(s->point[p]) : disturb(s, s->point[p], how))
			return true;
	}
	return false;
}

static void trace_section(struct section *s)
{
	for (unsigned p = 0; p < s->points; p++) {
		for (enum injection injection = 0; injection < INJECTIONS; injection++) {
			if (injection == MIGRATE && CPU_COUNT(&cpus) == 1)
				continue;
			snprintf(at, sizeof(at), "%s in %s, instruction %u of %u (%#lx), %s", s->kind, s->function,
				 p + 1, s->points, (long)(s->point[p] - load), injection_name[injection]);
			move_worker(other_cpu(-1));
			if (!reach(s, p))
				break;
			apply(s, s->point[p], injection);
			s->applied[p] |= (unsigned char)(1 << injection);
		}
	}
}

/* ---- start and end ---------------------------------------------------------------------------------- */

static bool is_among(const char *list, const char *word)
{
	size_t length = strlen(word);

	for (const char *at = list; (at = strstr(at, word)); at += length) {
		if ((at == list || at[-1] == ',') && (!at[length] || at[length] == ','))
			return true;
	}
	return false;
}

static void read_points(const char *name)
{
	FILE *file = fopen(name, "r");
	char line[2000];

	if (!file)
		fail(2, "cannot read %s", name);
	while (fgets(line, sizeof(line), file)) {
		struct section *s = &sections[count];
		char *word;
		int length = 0;

		if (count == MOST_SECTIONS || sscanf(line, "%31s %63s %lx %lx %lx%n", s->kind, s->function, &s->start,
						     &s->end, &s->abort, &length) != 5)
			fail(2, "cannot read the line: %s", line);
		for (word = strtok(line + length, " \n"); word; word = strtok(NULL, " \n")) {
			if (s->points == MOST_POINTS)
				fail(2, "too many instructions: %s", s->function);
			s->point[s->points++] = strtoul(word, NULL, 16);
		}
		if (!functions || is_among(functions, s->function))
			count++;
		else
			*s = (struct section){.points = 0};
	}
	fclose(file);
	if (!count)
		fail(2, "no sections");
}

static void start_program(void)
{
	int status;

	memory = memfd_create("share", 0);
	if (memory < 0 || ftruncate(memory, sizeof(*share)))
		fail(2, "no memory to share");
	share = mmap(NULL, sizeof(*share), PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
	worker = fork();
	if (worker == 0) {
		dup2(memory, SHARE_FD);
		if (library)
			setenv("LD_PRELOAD", library, 1);
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		execl(program, program, (char *)NULL);
		_exit(127);
	}
	close(memory);
	if (waitpid(worker, &status, 0) != worker || !WIFSTOPPED(status))
		fail(2, "%s cannot be started", program);
	ptrace(PTRACE_SETOPTIONS, worker, NULL, (void *)PTRACE_O_EXITKILL);
	if (go_on(0))
		fail(2, "%s does not stop of itself", program);
}

/* Where the library was loaded, and its sections with it. */
static void find_library(void)
{
	char name[40], line[500];
	FILE *maps;

	snprintf(name, sizeof(name), "/proc/%d/maps", worker);
	maps = fopen(name, "r");
	while (maps && !load && fgets(line, sizeof(line), maps)) {
		unsigned long start, offset;

		if (sscanf(line, "%lx-%*x %*s %lx", &start, &offset) == 2 && !offset && strstr(line, "libnearmalloc") &&
		    strstr(line, ".so"))
			load = start;
	}
	if (!load)
		fail(2, "the program runs without the library");
	fclose(maps);
	for (struct section *s = sections; s < &sections[count]; s++) {
		s->start += load;
		s->end += load;
		s->abort += load;
		for (unsigned p = 0; p < s->points; p++)
			s->point[p] += load;
	}
	snprintf(name, sizeof(name), "/proc/%d/mem", worker);
	memory = open(name, O_RDWR | O_CLOEXEC);
	if (memory < 0)
		fail(2, "cannot open %s", name);
}

/* Those where all was done that can be. */
static unsigned reached_points(const struct section *s)
{
	unsigned all = (1 << INJECTIONS) - 1, reached = 0;

	if (CPU_COUNT(&cpus) == 1)
		all &= ~(1u << MIGRATE);
	for (unsigned p = 0; p < s->points; p++) {
		if (s->applied[p] == all)
			reached++;
		else
			printf("unreached %s in %s, instruction %u (%#lx)\n", s->kind, s->function, p + 1,
			       (long)(s->point[p] - load));
	}
	return reached;
}

static int report(void)
{
	unsigned long points = 0, reached = 0, injections = 0, whole = 0;

	for (struct section *s = sections; s < &sections[count]; s++) {
		unsigned here = reached_points(s);

		points += s->points;
		reached += here;
		injections += s->injections;
		aborts += s->aborts;
		whole += here == s->points;
		if (verbose)
			printf("%s in %s: %u of %u instructions, %u injections, %u aborts\n", s->kind, s->function,
			       here, s->points, s->injections, s->aborts);
	}
	printf(MACHINE_NAME ": %lu of %u sections whole, %lu of %lu instructions, %lu injections", whole, count,
	       reached, points, injections);
	for (int i = 0; i < INJECTIONS; i++)
		printf("%s%lu %s", i ? ", " : " (", done[i], injection_name[i]);
	printf("), %lu aborts seen; %lu tours, %lu blocks looked at, near_check called %u times\n", aborts, tours,
	       (unsigned long)share->blocks, share->checks);
	return reached == points ? 0 : 3;
}

int main(int argc, char **argv)
{
	unsigned long rounds = 1;
	int option;

	while ((option = getopt(argc, argv, "l:r:s:f:iv")) != -1) {
		switch (option) {
		case 'l':
			library = optarg;
			break;
		case 'r':
			rounds = strtoul(optarg, NULL, 10);
			break;
		case 's':
			chance = strtoul(optarg, NULL, 10);
			break;
		case 'f':
			functions = optarg;
			break;
		case 'i':
			aborts_ignored = true;
			break;
		case 'v':
			verbose = true;
			break;
		default:
			return 2;
		}
	}
	if (argc != optind + 2)
		return 2;
	program = argv[optind + 1];
	setvbuf(stdout, NULL, _IOLBF, 0);
	sigaction(SIGALRM, &(struct sigaction){.sa_handler = on_alarm}, NULL);
	sched_getaffinity(0, sizeof(cpus), &cpus);
	read_points(argv[optind]);
	start_program();
	find_library();
	for (unsigned long r = 0; r < rounds; r++) {
		for (struct section *s = sections; s < &sections[count]; s++)
			trace_section(s);
	}
	kill(worker, SIGKILL);
	*at = '\0';
	return report();
}
