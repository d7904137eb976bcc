/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * multithread_churn: threads that have nothing to do with each other allocate, write up to 64 bytes, and free. The
 * rate should grow with the CPUs, and the memory not much with the threads.
 */
#include "objects.h"
#include "team.h"

static unsigned long each;

static void churn(struct member *member)
{
	for (unsigned long i = 0; i < each; i++)
		object_free(object_new(random_size(&member->random, small_mix), 64, &member->random), 64);
}

static void run(void)
{
	unsigned threads = (unsigned)number("threads", 1);

	each = scaled("ops", 500000, threads > 8 ? 20000 : 200000);
	team_run(threads, churn);
	stop(each * threads);
}

static const char *const rows[] = {"threads=1",	 "threads=2",	"threads=4", "threads=8",
				   "threads=32", "threads=256", NULL};

int main(int argc, char **argv)
{
	(void)argc;
	return workload_main(argv, &(struct workload){"multithread_churn", rows, run});
}
