/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * policy [OPTION]...: where memory lies that threads on all CPUs allocate and touch, under whatever policy the process
 * was started with. Writes the pages of small and of large objects on each node, and checks
 *
 *     --only LIST           all lie on these nodes
 *     --even LIST           and as many on each, give or take a half
 *     --local               each lies on the node of its CPU, or the nearest that we may use
 *     --nodes LIST          only these nodes count as usable
 *     --unbound             no mapping has a policy
 *     --per-cpu MIB         memory that a CPU allocates (default 3)
 *     --refuse CALL ERROR   the system call is answered with an error, from the first instruction of the program
 */
#include "filter.h"
#include "team.h"

static size_t per_cpu = 3 * MIB;
static size_t small_on[LAB_NODES + 1], large_on[LAB_NODES + 1];
static pthread_mutex_t counting = PTHREAD_MUTEX_INITIALIZER;

static void count_objects(const struct worker *w)
{
	pthread_mutex_lock(&counting);
	for (size_t i = 0; i < w->count; i++)
		range_where(w->objects[i].ptr, w->objects[i].size,
			    w->objects[i].size <= SMALL_MOST ? small_on : large_on);
	pthread_mutex_unlock(&counting);
}

/* A third each small, up to a MiB, and above. */
static void body(struct worker *w)
{
	while (w->bytes < per_cpu && w->count < w->most) {
		size_t third = per_cpu / 3, size;
		struct object *o = &w->objects[w->count++];

		size = w->bytes < third	      ? small_size(&w->random)
		       : w->bytes < 2 * third ? middle_size(&w->random)
					      : third + 1;
		object_take(o, size, w->cpu);
		object_fill(o, random_next(&w->random));
		w->bytes += size;
	}
	team_meet();
	objects_where(w->objects, w->count, &w->share);
	count_objects(w);
	team_meet();
	for (size_t i = 0; i < w->count; i++)
		object_drop(&w->objects[i]);
}

static void print_counts(const char *name, const size_t *on)
{
	tell("%s", name);
	for (int node = 0; node < machine.nodes; node++)
		tell(" %d:%zu", node, on[node]);
	tell(on[LAB_NODES] > 0 ? " none:%zu\n" : "\n", on[LAB_NODES]);
}

static void check_counts(const char *name, const size_t *on, const bool *allowed, bool even)
{
	size_t sum = 0, nodes = 0;

	for (int node = 0; node <= LAB_NODES; node++) {
		sum += on[node];
		nodes += node < LAB_NODES && allowed[node];
		if (node == LAB_NODES || !allowed[node])
			EXPECT(on[node] == 0, "%zu pages of %s objects lie on node %d", on[node], name, node);
	}
	EXPECT(sum > 0, "no pages of %s objects", name);
	for (int node = 0; node < LAB_NODES && even; node++) {
		if (allowed[node])
			EXPECT(on[node] * nodes * 2 >= sum && on[node] * nodes * 2 <= sum * 3,
			       "%zu of %zu pages of %s objects lie on node %d of %zu", on[node], sum, name, node,
			       nodes);
	}
}

static void check_unbound(void)
{
	static char text[1 << 20];

	CHECK(read_text("/proc/self/numa_maps", text, sizeof(text)));
	for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
		const char *policy = strchr(line, ' ');

		EXPECT(policy != NULL && strncmp(policy, " default", 8) == 0, "a mapping has a policy: %s", line);
	}
}

/* The filter binds the next program, which is this one with its other arguments. */
static void refuse(char **argv)
{
	char **rest = argv + 3;

	if (argv[1] == NULL || argv[2] == NULL || filter_install(argv[1], filter_error(argv[2])) != 0) {
		say(2, "--refuse CALL ERROR\n");
		exit(2);
	}
	rest[-1] = "policy";
	execv("/proc/self/exe", rest - 1);
	CHECK(!"exec");
}

int main(int argc, char **argv)
{
	bool only[LAB_NODES] = {false}, is_only = false, even = false, local = false, unbound = false;
	struct share share;

	(void)argc;
	for (char **at = argv + 1; *at != NULL; at++) {
		if (strcmp(*at, "--refuse") == 0) {
			refuse(at);
		} else if (strcmp(*at, "--local") == 0) {
			local = true;
		} else if (strcmp(*at, "--unbound") == 0) {
			unbound = true;
		} else if (at[1] == NULL) {
			say(2, "policy: wrong arguments\n");
			return 2;
		} else if (strcmp(*at, "--only") == 0 || strcmp(*at, "--even") == 0) {
			even = (*at)[2] == 'e';
			is_only = true;
			read_list(*++at, only, LAB_NODES);
		} else if (strcmp(*at, "--nodes") == 0) {
			lab_name_nodes(*++at);
		} else if (strcmp(*at, "--per-cpu") == 0) {
			per_cpu = strtoul(*++at, NULL, 10) * MIB;
		} else {
			say(2, "policy: wrong arguments\n");
			return 2;
		}
	}
	machine_read();
	share = team_run(body, per_cpu / KIB + 100);
	print_counts("small", small_on);
	print_counts("large", large_on);
	if (is_only) {
		check_counts("small", small_on, only, even);
		check_counts("large", large_on, only, even);
	}
	if (local) {
		EXPECT(share.small_local * 100 >= share.small_pages * 99, "%lu of %lu pages of small objects are local",
		       share.small_local, share.small_pages);
		EXPECT(share.large_local == share.large_pages, "%lu of %lu pages of large objects are local",
		       share.large_local, share.large_pages);
	}
	if (unbound)
		check_unbound();
	return lab_status;
}
