/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * What the programs of the laboratory share: how they report, and the machine's nodes as /sys tells them.
 *
 * Nothing in this file, objects.h or team.h allocates, and nothing of the library is needed: the programs run under any
 * allocator.
 */
#ifndef NEAR_TEST_LAB_H
#define NEAR_TEST_LAB_H

#include <ctype.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "check.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

enum { LAB_NODES = 64, LAB_CPUS = 256, LAB_FAR = 255 };

/* ---- saying it --------------------------------------------------------------------------------- */

__attribute__((format(printf, 1, 2))) static inline void tell(const char *format, ...)
{
	char text[600];
	va_list list;

	va_start(list, format);
	vsnprintf(text, sizeof(text), format, list);
	va_end(list);
	say(1, text);
}

static int lab_status;

/* What is wrong, as one line on stderr; the program goes on, and ends with status 1. */
__attribute__((format(printf, 1, 2))) static inline void wrong(const char *format, ...)
{
	char text[600] = "wrong: ";
	va_list list;

	va_start(list, format);
	vsnprintf(text + 7, sizeof(text) - 8, format, list);
	va_end(list);
	strcat(text, "\n");
	say(2, text);
	lab_status = 1;
}

#define EXPECT(condition, ...) ((condition) ? (void)0 : wrong(__VA_ARGS__))

/* ---- the machine ------------------------------------------------------------------------------- */

struct lab_machine {
	int nodes; /* one more than the highest */
	bool online[LAB_NODES], has_cpu[LAB_NODES];
	bool memory[LAB_NODES]; /* that we may use */
	unsigned distance[LAB_NODES][LAB_NODES];
	int node_of[LAB_CPUS]; /* -1: offline */
	int cpus;
	int cpu[LAB_CPUS]; /* those that we may run on */
};

static struct lab_machine machine;

/* The text of a file, without what does not fit; false when there is none. */
static inline bool read_text(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t length = 0;
	ssize_t got;

	if (fd < 0)
		return false;
	while ((got = read(fd, text + length, size - 1 - length)) > 0)
		length += (size_t)got;
	close(fd);
	text[length] = '\0';
	return got == 0 || length == size - 1;
}

/* A list such as 0-1,4 sets the flags of its numbers. Returns one more than the highest. */
static inline int read_list(const char *list, bool *flags, int most)
{
	int end = 0;

	while (isdigit((unsigned char)*list)) {
		char *after;
		int first = (int)strtol(list, &after, 10), last = first;

		if (*after == '-')
			last = (int)strtol(after + 1, &after, 10);
		for (int i = first; i <= last && i < most; i++)
			flags[i] = true;
		end = last + 1 > end ? last + 1 : end;
		list = *after == ',' ? after + 1 : after;
	}
	return end < most ? end : most;
}

static inline bool read_list_file(const char *path, bool *flags, int most, int *end)
{
	char text[4096];

	memset(flags, 0, (size_t)most * sizeof(*flags));
	if (!read_text(path, text, sizeof(text)))
		return false;
	*end = read_list(text, flags, most);
	return true;
}

static inline void machine_read_node(int node)
{
	bool cpus[LAB_CPUS];
	char path[80], text[2048], *at = text;
	int end;

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/cpulist", node);
	CHECK(read_list_file(path, cpus, LAB_CPUS, &end));
	for (int cpu = 0; cpu < end; cpu++) {
		if (cpus[cpu]) {
			machine.node_of[cpu] = node;
			machine.has_cpu[node] = true;
		}
	}
	/* The distances are those to the nodes that are online, in order. */
	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/distance", node);
	CHECK(read_text(path, text, sizeof(text)));
	for (int to = 0; to < machine.nodes; to++) {
		machine.distance[node][to] = machine.online[to] ? (unsigned)strtoul(at, &at, 10) : LAB_FAR;
		if (machine.distance[node][to] == 0)
			machine.distance[node][to] = LAB_FAR;
	}
}

static inline void machine_read_allowed(void)
{
	char text[8192];
	bool allowed[LAB_NODES] = {false};
	const char *at;

	if (!read_text("/proc/self/status", text, sizeof(text)))
		return;
	at = strstr(text, "Mems_allowed_list:");
	if (at == NULL)
		return;
	for (at += strlen("Mems_allowed_list:"); isspace((unsigned char)*at);)
		at++;
	read_list(at, allowed, LAB_NODES);
	for (int node = 0; node < LAB_NODES; node++)
		machine.memory[node] = machine.memory[node] && allowed[node];
}

/* The CPUs that we may run on and that are online. */
static inline void machine_read_cpus(void)
{
	cpu_set_t allowed;

	CHECK(sched_getaffinity(0, sizeof(allowed), &allowed) == 0);
	machine.cpus = 0;
	for (int cpu = 0; cpu < LAB_CPUS; cpu++) {
		if (CPU_ISSET(cpu, &allowed) && machine.node_of[cpu] >= 0)
			machine.cpu[machine.cpus++] = cpu;
	}
	CHECK(machine.cpus > 0);
}

static inline void machine_read(void)
{
	int end;

	memset(&machine, 0, sizeof(machine));
	for (int cpu = 0; cpu < LAB_CPUS; cpu++)
		machine.node_of[cpu] = -1;
	if (!read_list_file("/sys/devices/system/node/online", machine.online, LAB_NODES, &machine.nodes)) {
		/* a kernel without nodes */
		machine.nodes = 1;
		machine.online[0] = machine.memory[0] = machine.has_cpu[0] = true;
		for (int cpu = 0; cpu < LAB_CPUS; cpu++)
			machine.node_of[cpu] = 0;
	} else {
		CHECK(read_list_file("/sys/devices/system/node/has_memory", machine.memory, LAB_NODES, &end));
		for (int node = 0; node < machine.nodes; node++) {
			if (machine.online[node])
				machine_read_node(node);
		}
	}
	machine_read_allowed();
	machine_read_cpus();
}

/* Whether memory may be taken from the node without being asked for by name: it has some, and CPUs. */
static bool lab_named[LAB_NODES]; /* by --nodes */
static bool lab_any_named;

static inline void lab_name_nodes(const char *list)
{
	read_list(list, lab_named, LAB_NODES);
	lab_any_named = true;
}

static inline bool is_ordinary(int node)
{
	return machine.memory[node] && (lab_any_named ? lab_named[node] : machine.has_cpu[node]);
}

/* Whether memory of CPUs of one node should lie on the other: itself, or if it has none any of the nearest. */
static inline bool is_expected(int node, int lies)
{
	unsigned least = UINT32_MAX;

	if (lies < 0 || !is_ordinary(lies))
		return false;
	if (is_ordinary(node))
		return lies == node;
	for (int to = 0; to < machine.nodes; to++) {
		if (is_ordinary(to) && machine.distance[node][to] < least)
			least = machine.distance[node][to];
	}
	return machine.distance[node][lies] == least;
}

static inline void pin(int cpu)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	CHECK(sched_setaffinity(0, sizeof(one), &one) == 0);
}

static inline void pin_anywhere(void)
{
	cpu_set_t all;

	CPU_ZERO(&all);
	for (int i = 0; i < machine.cpus; i++)
		CPU_SET(machine.cpu[i], &all);
	CHECK(sched_setaffinity(0, sizeof(all), &all) == 0);
}

/* A CPU of the node that we may run on; -1: it has none. */
static inline int cpu_of_node(int node)
{
	for (int i = 0; i < machine.cpus; i++) {
		if (machine.node_of[machine.cpu[i]] == node)
			return machine.cpu[i];
	}
	return -1;
}

static inline void *map_memory(size_t bytes)
{
	void *start = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	CHECK(start != MAP_FAILED);
	return start;
}

#endif
