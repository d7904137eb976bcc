/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* The simulated machine: CPUs, their order in time, and the directory of cache lines. */
#include "sim.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

enum { STACK_BYTES = 64 << 10, LINES = 1 << 20, CPU_WORDS = SIM_MOST_CPUS / 64, NOBODY = SIM_MOST_CPUS };

struct cpu {
	jmp_buf at;	    /* where it goes on */
	ucontext_t context; /* where it begins */
	bool begun;
	uint64_t clock;
	const void *asleep_on;
};

/* In the directory from the first access to it. */
struct line {
	uintptr_t address;
	uint64_t holders[CPU_WORDS];
	uint64_t busy_until;
	uint32_t transfers;
	uint16_t first, writer; /* CPUs; writer: the last, or NOBODY */
	bool written;		/* since the counting began; what is not comes to each CPU once and stays there */
	bool shared;		/* more than one CPU has used it, ever */
};

struct sim_counts sim_counts;

static struct cpu cpus[SIM_MOST_CPUS], outside = {.begun = true};
static struct cpu *self = &outside;
static char *stacks;
static size_t stack_bytes;
static struct line *lines;
static size_t used_lines;
static void (*work_of_all)(unsigned);
static uint64_t began;
static unsigned working;

static void *reserve(size_t bytes)
{
	void *start = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (start == MAP_FAILED) {
		perror("mmap");
		exit(2);
	}
	return start;
}

unsigned sim_self(void)
{
	return self == &outside ? NOBODY : (unsigned)(self - cpus);
}

/* ---- whose turn it is ----------------------------------------------------------------------------- */

/* A heap of the CPUs that wait for their turn, the one furthest behind at the top. */
static struct cpu *ready[SIM_MOST_CPUS];
static unsigned ready_count;

static bool is_before(const struct cpu *a, const struct cpu *b)
{
	return a->clock != b->clock ? a->clock < b->clock : a < b;
}

static void make_ready(struct cpu *cpu)
{
	unsigned at = ready_count++;

	for (; at && is_before(cpu, ready[(at - 1) / 2]); at = (at - 1) / 2)
		ready[at] = ready[(at - 1) / 2];
	ready[at] = cpu;
}

static struct cpu *take_ready(void)
{
	struct cpu *first = ready[0], *last = ready[--ready_count];
	unsigned at = 0, child;

	while ((child = 2 * at + 1) < ready_count) {
		child += child + 1 < ready_count && is_before(ready[child + 1], ready[child]);
		if (!is_before(ready[child], last))
			break;
		ready[at] = ready[child];
		at = child;
	}
	ready[at] = last;
	return first;
}

/* Not swapcontext, which makes two system calls. */
static void switch_to(struct cpu *next)
{
	struct cpu *from = self;

	self = next;
	if (_setjmp(from->at))
		return;
	if (next->begun)
		_longjmp(next->at, 1);
	next->begun = true;
	setcontext(&next->context);
}

static void run_another(void)
{
	if (!ready_count) {
		fputs("all CPUs are asleep\n", stderr);
		exit(2);
	}
	switch_to(take_ready());
}

static void let_others_catch_up(void)
{
	if (!ready_count || is_before(self, ready[0]))
		return;
	make_ready(self);
	run_another();
}

void sim_sleep(const void *word)
{
	self->asleep_on = word;
	run_another();
}

void sim_wake(const void *word)
{
	struct cpu *first = NULL;

	for (struct cpu *cpu = cpus; cpu < cpus + SIM_MOST_CPUS; cpu++) {
		if (cpu->asleep_on == word && (!first || is_before(cpu, first)))
			first = cpu;
	}
	if (!first)
		return;
	first->asleep_on = NULL;
	first->clock = self->clock + SIM_WAKE;
	make_ready(first);
}

void sim_spend(unsigned cycles)
{
	self->clock += cycles;
	let_others_catch_up();
}

static void entry(void)
{
	work_of_all(sim_self());
	if (self->clock - began > sim_counts.cycles)
		sim_counts.cycles = self->clock - began;
	switch_to(--working ? take_ready() : &outside);
}

void sim_run(unsigned n, void (*work)(unsigned))
{
	stack_bytes = (size_t)n * STACK_BYTES;
	stacks = reserve(stack_bytes);
	lines = reserve(LINES * sizeof(*lines));
	work_of_all = work;
	working = n;
	for (unsigned i = 0; i < n; i++) {
		getcontext(&cpus[i].context);
		cpus[i].context.uc_stack.ss_sp = stacks + (size_t)i * STACK_BYTES;
		cpus[i].context.uc_stack.ss_size = STACK_BYTES;
		cpus[i].clock = i; /* not in step */
		makecontext(&cpus[i].context, entry, 0);
		make_ready(&cpus[i]);
	}
	switch_to(take_ready());
}

/* ---- lines ---------------------------------------------------------------------------------------- */

static struct line *line_at(uintptr_t address)
{
	size_t at = (address / SIM_LINE * 0x9e3779b97f4a7c15u) >> 44;

	for (; lines[at].address != address; at = (at + 1) % LINES) {
		if (lines[at].address)
			continue;
		if (++used_lines > LINES / 4 * 3) {
			fputs("too many lines\n", stderr);
			exit(2);
		}
		lines[at] = (struct line){.address = address, .first = (uint16_t)sim_self(), .writer = NOBODY};
		break;
	}
	return &lines[at];
}

static bool holds(const struct line *line, unsigned cpu)
{
	return line->holders[cpu / 64] >> cpu % 64 & 1;
}

static bool holds_alone(const struct line *line, unsigned cpu)
{
	for (unsigned w = 0; w < CPU_WORDS; w++) {
		if (line->holders[w] != (w == cpu / 64 ? 1ull << cpu % 64 : 0))
			return false;
	}
	return true;
}

static bool is_held(const struct line *line)
{
	uint64_t any = 0;

	for (unsigned w = 0; w < CPU_WORDS; w++)
		any |= line->holders[w];
	return any;
}

/* A plain store goes on behind the CPU's back. */
static void fetch(struct line *line, enum sim_access access)
{
	uint64_t now = self->clock;

	if (line->writer != NOBODY || (access != SIM_READ && is_held(line))) {
		now = now > line->busy_until ? now : line->busy_until;
		line->busy_until = now + SIM_MISS;
		line->transfers += line->written;
		sim_counts.transfers += line->written;
	}
	if (access != SIM_WRITE)
		self->clock = now + SIM_MISS;
}

static bool access_line(uintptr_t address, enum sim_access access)
{
	struct line *line = line_at(address);
	unsigned cpu = sim_self();
	bool write = access != SIM_READ;

	line->shared |= line->first != cpu;
	if (line->shared)
		let_others_catch_up();
	sim_counts.atomics += line->shared && access == SIM_ATOMIC;
	self->clock += SIM_HIT;
	line->written |= write;
	if (!(write ? holds_alone(line, cpu) : holds(line, cpu)))
		fetch(line, access);
	if (write) {
		for (unsigned w = 0; w < CPU_WORDS; w++)
			line->holders[w] = 0;
		line->writer = (uint16_t)cpu;
	}
	line->holders[cpu / 64] |= 1ull << cpu % 64;
	return line->shared;
}

bool sim_access(uintptr_t address, size_t bytes, enum sim_access access)
{
	uintptr_t first = address / SIM_LINE, last = (address + bytes - 1) / SIM_LINE;
	bool shared = false;

	if (self == &outside || address - (uintptr_t)stacks < stack_bytes)
		return false;
	for (uintptr_t line = first; line <= last; line++)
		shared |= access_line(line * SIM_LINE, access);
	return shared;
}

void sim_count_from_here(void)
{
	sim_counts = (struct sim_counts){0};
	began = self->clock;
	for (size_t i = 0; i < LINES; i++) {
		lines[i].transfers = 0;
		lines[i].written = false;
	}
}

void sim_each_line(void (*visit)(uintptr_t, uint64_t))
{
	for (size_t i = 0; i < LINES; i++) {
		if (lines[i].transfers)
			visit(lines[i].address, lines[i].transfers);
	}
}
