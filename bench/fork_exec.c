/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * fork_exec: a process with objects alive, and perhaps with threads that allocate meanwhile, forks again and again. The
 * child allocates and frees a little and ends, or becomes /bin/true. Its time is that until its end has been noticed;
 * the allocator counts by what its handlers do, what the child's first calls cost, and how its memory is mapped.
 */
#include <sys/wait.h>

#include "objects.h"
#include "team.h"

enum { CHILD_OBJECTS = 1000 };

static unsigned threads;
static unsigned long forks;
static bool exec_true;
static _Atomic bool over;
static double *us;

static void be_child(void)
{
	struct object *objects[CHILD_OBJECTS];
	uint64_t random = FIRST_SEED;

	if (exec_true) {
		execl("/bin/true", "true", (char *)NULL);
		_exit(127);
	}
	for (unsigned i = 0; i < CHILD_OBJECTS; i++)
		objects[i] = object_new(random_size(&random, small_mix), WHOLE, &random);
	objects_free(objects, CHILD_OBJECTS, WHOLE);
	_exit(0);
}

static double fork_us(void)
{
	uint64_t from = now_ns();
	pid_t child = fork();
	int status;

	if (child == 0)
		be_child();
	if (child < 0 || waitpid(child, &status, 0) != child || status)
		die("a child failed");
	return (double)(now_ns() - from) / 1e3;
}

static void fork_or_churn(struct member *member)
{
	if (member->number == 0) {
		for (unsigned long i = 0; i < forks; i++)
			us[i] = fork_us();
		over = true;
	}
	while (!over)
		object_free(object_new(random_size(&member->random, small_mix), 64, &member->random), 64);
}

static void run(void)
{
	static const char *const words[] = {"no", "yes", NULL};
	uint32_t live = (uint32_t)number("live", 10000);
	struct object **objects = table(live, sizeof(*objects));
	uint64_t random = FIRST_SEED;

	threads = (unsigned)number("threads", 1);
	exec_true = choice("exec", words);
	forks = scaled("forks", 200, 30);
	us = table(forks, sizeof(*us));
	for (uint32_t i = 0; i < live; i++)
		objects[i] = object_new(random_size(&random, small_mix), WHOLE, &random);
	team_run(threads, fork_or_churn);
	report("fork_us", median(us, (unsigned)forks), "lower");
	report("fork_us_least", us[0], "lower");
	stop(forks);
	objects_free(objects, live, WHOLE);
}

static const char *const rows[] = {"exec=no live=10000", "exec=yes live=10000", "exec=yes live=300000",
				   "exec=no live=10000 threads=4", NULL};

int main(int argc, char **argv)
{
	(void)argc;
	return workload_main(argv, &(struct workload){"fork_exec", rows, run});
}
