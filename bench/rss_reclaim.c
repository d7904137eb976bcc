/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * rss_reclaim: 2 GiB in 256 blocks are filled and freed; then the process is idle, and its memory is looked at every
 * 50 ms, for the time that it is given to settle. until_tenth_ms is the time after which no more than a tenth of it was resident, until_base_ms
 * no more than 1.5 times of what was before; if that did not happen never_* is 1, and the time all that was waited.
 */
#include "objects.h"

enum { EVERY_MS = 50 };

static void watch(const char *what, const double *seen, unsigned n, double limit)
{
	char metric[64];
	unsigned i = 0;

	while (i < n && seen[i] > limit)
		i++;
	snprintf(metric, sizeof(metric), "until_%s_ms", what);
	report(metric, i * EVERY_MS, "lower");
	snprintf(metric, sizeof(metric), "never_%s", what);
	report(metric, i == n, "lower");
}

static void run(void)
{
	unsigned long count = scaled("blocks", 256, 32);
	size_t size = number("mib", 8) << 20;
	unsigned n = (unsigned)(settle_seconds * 1000 / EVERY_MS) + 1;
	char **blocks = table(count, sizeof(*blocks));
	double *seen = table(n, sizeof(*seen)), filled;

	start();
	for (unsigned long i = 0; i < count; i++) {
		blocks[i] = get(size);
		fill(blocks[i], size, i);
	}
	filled = rss();
	for (unsigned long i = 0; i < count; i++) {
		if (!filled_with(blocks[i], size, i))
			die("block %lu was overwritten", i);
		put(blocks[i]);
	}
	stop(count);
	report("freed_rss", rss(), "lower");
	if (settle_seconds <= 0)
		return;
	for (unsigned i = 0; i < n; i++) {
		if (i)
			pause_seconds(EVERY_MS / 1e3);
		seen[i] = rss();
	}
	watch("tenth", seen, n, filled / 10);
	watch("base", seen, n, 1.5 * began.rss);
	report("settled_rss", seen[n - 1], "lower");
}

int main(int argc, char **argv)
{
	(void)argc;
	return workload_main(argv, &(struct workload){"rss_reclaim", NULL, run});
}
