/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* hello: what a process costs that does nothing, or allocates once. */
#include "objects.h"

static void run(void)
{
	unsigned long mallocs = number_or_0("mallocs", 0);

	start();
	for (unsigned long i = 0; i < mallocs; i++)
		put(get(16));
	report("idle_rss", rss(), "lower");
	stop(mallocs);
}

static const char *const rows[] = {"mallocs=0", "mallocs=1", NULL};

int main(int argc, char **argv)
{
	(void)argc;
	return workload_main(argv, &(struct workload){"hello", rows, run});
}
