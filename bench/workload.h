/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * The frame of a workload. It is one program, which measures one row in each process:
 *
 *     PROGRAM --rows            prints its rows, one line of arguments each
 *     PROGRAM key=value ...     measures that row and prints lines `metric value better`
 *
 *     --quick                   about a tenth of a second instead of one
 *     --settle S                seconds between freeing all and the last look at the memory (0)
 *
 * The first metric is the one that ratios are made of. A workload reads its parameters and makes its tables, calls
 * start(), works, and calls stop() with the number of operations. A table is resident as soon as it is made, and so is
 * in base_rss if that is before start().
 */
#ifndef NEAR_BENCH_WORKLOAD_H
#define NEAR_BENCH_WORKLOAD_H

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "harness.h"

struct workload {
	const char *name;
	const char *const *rows; /* NULL: one row without arguments */
	void (*run)(void);
};

static const struct workload *workload;
static char **arguments;
static bool quick;
static double settle_seconds;

/* ---- parameters ----------------------------------------------------------------------------------- */

enum { MOST_KEYS = 16 };

static const char *known_keys[MOST_KEYS];

static inline const char *key_known(const char *key)
{
	unsigned i = 0;

	while (known_keys[i] && strcmp(known_keys[i], key))
		i++;
	if (i == MOST_KEYS - 1)
		die("too many parameters");
	return known_keys[i] = key;
}

static inline unsigned long number_or_0(const char *key, unsigned long usual)
{
	return parameter_number(arguments, key_known(key), usual);
}

static inline unsigned long number(const char *key, unsigned long usual)
{
	unsigned long value = number_or_0(key, usual);

	if (!value)
		die("%s: must not be 0", key);
	return value;
}

/* A parameter's value; else what is usual, or enough with --quick. */
static inline unsigned long scaled(const char *key, unsigned long usual, unsigned long enough)
{
	return number(key, quick ? enough : usual);
}

/* The number of the parameter's value among the words, whose first is usual. */
static inline unsigned choice(const char *key, const char *const *words)
{
	const char *word = parameter(arguments, key_known(key), words[0]);

	for (unsigned i = 0; words[i]; i++) {
		if (!strcmp(words[i], word))
			return i;
	}
	die("%s: no such choice: %s", key, word);
}

/* Nothing may be ignored: it would be measured under a wrong name. */
static inline void refuse_unknown(void)
{
	for (char **arg = arguments + 1; *arg; arg++) {
		size_t n = strcspn(*arg, "=");
		unsigned i = 0;

		while (known_keys[i] && (strlen(known_keys[i]) != n || strncmp(known_keys[i], *arg, n)))
			i++;
		if (!known_keys[i])
			die("%s: no such parameter: %s", workload->name, *arg);
	}
}

/* ---- figures -------------------------------------------------------------------------------------- */

/* A line of a file in /proc/self that tells KiB. The counters of getrusage would not do: what they call the greatest
   RSS may be that of the process that started this one. */
static inline double proc_kib(const char *path, const char *line)
{
	char text[4096];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
	const char *at;

	if (fd >= 0)
		close(fd);
	text[length > 0 ? length : 0] = '\0';
	at = strstr(text, line);
	if (!at)
		die("no %s in %s", line, path);
	return (double)strtoul(at + strlen(line), NULL, 10);
}

/* Exact; what status and statm tell may lag behind on machines with many CPUs. */
static inline double rss(void)
{
	return proc_kib("/proc/self/smaps_rollup", "\nRss:");
}

static struct {
	uint64_t wall;
	struct rusage usage;
	double rss;
} began;

/* The clock starts to run, at the first call. */
static inline void start(void)
{
	if (began.wall)
		return;
	refuse_unknown();
	began.rss = rss();
	getrusage(RUSAGE_SELF, &began.usage);
	began.wall = now_ns();
}

static inline double seconds_since(uint64_t ns)
{
	return (double)(now_ns() - ns) / 1e9;
}

/* The usual figures; end_rss is what is resident now. Returns it. */
static inline double stop(uint64_t ops)
{
	double seconds = seconds_since(began.wall), end = rss(), peak = proc_kib("/proc/self/status", "\nVmHWM:");
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	report("seconds", seconds, "lower");
	if (ops)
		report("ns_per_op", seconds * 1e9 / (double)ops, "lower");
	report("base_rss", began.rss, "lower");
	report("peak_rss", peak > end ? peak : end, "lower");
	report("end_rss", end, "lower");
	report("minor_faults", (double)(usage.ru_minflt - began.usage.ru_minflt), "lower");
	return end;
}

/* As stop() while objects are alive, the memory compared with what was asked for. */
static inline void stop_live(uint64_t ops, uint64_t live_bytes)
{
	double end = stop(ops);

	report("live_bytes", (double)live_bytes, "none");
	report("rss_over_live", (end - began.rss) * 1024 / (double)live_bytes, "lower");
}

static inline void pause_seconds(double seconds)
{
	struct timespec rest = {.tv_sec = (time_t)seconds};

	rest.tv_nsec = (long)((seconds - (double)rest.tv_sec) * 1e9);
	while (nanosleep(&rest, &rest))
		;
}

/* Everything has been freed: what is resident at once, and after a time without any activity. */
static inline void report_freed(void)
{
	report("freed_rss", rss(), "lower");
	if (settle_seconds <= 0)
		return;
	pause_seconds(settle_seconds);
	report("settled_rss", rss(), "lower");
}

/* ---- tables --------------------------------------------------------------------------------------- */

/* Memory of the workload's own, zero and resident. It is not the allocator's, and never given back. */
static inline void *table(size_t count, size_t size)
{
	void *memory =
		mmap(NULL, count * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (memory == MAP_FAILED)
		die("no memory for a table of %zu bytes", count * size);
	return memory;
}

/* ---- the frame ------------------------------------------------------------------------------------ */

/* Takes the options out of the arguments; returns whether the rows are asked for. */
static inline bool take_options(char **argv)
{
	char **kept = argv + 1;
	bool rows = false;

	for (char **arg = argv + 1; *arg; arg++) {
		if (!strcmp(*arg, "--settle") && arg[1])
			settle_seconds = atof(*++arg);
		else if (!strcmp(*arg, "--rows"))
			rows = true;
		else if (!strcmp(*arg, "--quick"))
			quick = true;
		else
			*kept++ = *arg;
	}
	*kept = NULL;
	return rows;
}

static inline int workload_main(char **argv, const struct workload *which)
{
	static char buffer[1 << 12];

	/* Standard output gets no buffer from the allocator. */
	setvbuf(stdout, buffer, _IOLBF, sizeof(buffer));
	workload = which;
	arguments = argv;
	if (!take_options(argv)) {
		which->run();
	} else if (!which->rows) {
		puts("");
	} else {
		for (const char *const *row = which->rows; *row; row++)
			puts(*row);
	}
	return 0;
}

#endif
