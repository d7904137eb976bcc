/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* os/topology: machines that the tests make up, numbered, ordered by distance, and asked by node and by CPU. */
#include <limits.h>
#include <sys/syscall.h>

#include "machine.h"

static const struct topology *const t = &near__topology;

/* Number by number: what is wanted, and -1 for all that are not listed. */
static void expect_dense(const int *kernel_nodes, int n)
{
	static const int never[] = {-1, -2, -1024, INT_MIN, INT_MAX, 1024, 1025, 65536};

	cr_assert_eq(t->nodes, n);
	for (int number = 0; number < OS_NODE_NUMBERS; number++) {
		int wanted = -1;

		for (int i = 0; i < n; i++)
			wanted = kernel_nodes[i] == number ? i : wanted;
		cr_assert_eq(near__numa_dense(number), wanted, "%d gave %d", number, near__numa_dense(number));
	}
	for (size_t i = 0; i < ARRAY_LEN(never); i++)
		cr_assert_eq(near__numa_dense(never[i]), -1, "%d", never[i]);
	for (int i = 0; i < n; i++)
		cr_assert_eq(t->kernel_node[i], kernel_nodes[i]);
}

static void expect_order(unsigned node, const int *wanted, unsigned n)
{
	uint16_t order[OS_MAX_NODES];

	cr_assert_eq(near__numa_order(node, order), n, "node %u", node);
	for (unsigned i = 0; i < n; i++)
		cr_assert_eq(order[i], wanted[i], "node %u, place %u: %u", node, i, order[i]);
}

#define EXPECT_DENSE(...)	expect_dense((const int[]){__VA_ARGS__}, sizeof((int[]){__VA_ARGS__}) / sizeof(int))
#define EXPECT_ORDER(node, ...) expect_order(node, (int[]){__VA_ARGS__}, sizeof((int[]){__VA_ARGS__}) / sizeof(int))

/* The definition: itself, then all others by distance, equal ones by how far their number is, counted round. */
static void expect_sorted(unsigned node)
{
	uint16_t order[OS_MAX_NODES];
	bool seen[OS_MAX_NODES] = {false};

	cr_assert_eq(near__numa_order(node, order), t->nodes);
	cr_assert_eq(order[0], node);
	for (unsigned i = 0; i < t->nodes; i++) {
		cr_assert_not(seen[order[i]], "%u comes twice", order[i]);
		seen[order[i]] = true;
	}
	for (unsigned i = 2; i < t->nodes; i++) {
		unsigned a = near__numa_distance(node, order[i - 1]), b = near__numa_distance(node, order[i]);
		unsigned round_a = (order[i - 1] + t->nodes - node) % t->nodes;
		unsigned round_b = (order[i] + t->nodes - node) % t->nodes;

		cr_assert(a < b || (a == b && round_a < round_b), "%u: %u before %u", node, order[i - 1], order[i]);
	}
}

/* ---- machines ------------------------------------------------------------------------------------- */

Test(topology, one_node_needs_no_binding)
{
	machine_of(1);
	cr_assert_not(machine_arrange(NULL));
	cr_assert_not(t->bound);
	EXPECT_DENSE(0);
	EXPECT_ORDER(0, 0);
	cr_assert_eq(near__numa_node_of_cpu(0), 0);
	cr_assert_eq(near__numa_distance(0, 0), 10);
}

Test(topology, two_nodes)
{
	machine_of(2);
	cr_assert(machine_arrange(NULL));
	cr_assert(t->bound);
	EXPECT_DENSE(0, 1);
	EXPECT_ORDER(0, 0, 1);
	EXPECT_ORDER(1, 1, 0);
	for (unsigned cpu = 0; cpu < 4; cpu++)
		cr_assert_eq(near__numa_node_of_cpu(cpu), cpu / 2);
	cr_assert_eq(near__numa_distance(0, 1), 11);
	cr_assert_eq(near__numa_distance(1, 1), 10);
}

/* Two packages of two dies, and a direction that is slower than the other. */
static int four_unequal(int from, int to)
{
	static const int distances[4][4] = {{10, 12, 32, 28}, {12, 10, 28, 28}, {32, 28, 10, 12}, {31, 11, 12, 10}};

	return distances[from][to];
}

Test(topology, four_nodes_by_their_distances)
{
	machine_of(4);
	made_up.distance = four_unequal;
	cr_assert(machine_arrange(NULL));
	EXPECT_ORDER(0, 0, 1, 3, 2);
	EXPECT_ORDER(1, 1, 0, 2, 3); /* 2 and 3 are equally far: 2 comes first, counted from 1 */
	EXPECT_ORDER(2, 2, 3, 1, 0);
	EXPECT_ORDER(3, 3, 1, 2, 0); /* as seen from 3 */
	for (unsigned node = 0; node < 4; node++)
		expect_sorted(node);
}

static int all_alike(int from, int to)
{
	return from == to ? 10 : 20;
}

Test(topology, eight_nodes_equally_far_do_not_all_ask_the_first)
{
	machine_of(8);
	made_up.distance = all_alike;
	cr_assert(machine_arrange(NULL));
	EXPECT_DENSE(0, 1, 2, 3, 4, 5, 6, 7);
	EXPECT_ORDER(0, 0, 1, 2, 3, 4, 5, 6, 7);
	EXPECT_ORDER(5, 5, 6, 7, 0, 1, 2, 3, 4);
	for (unsigned node = 0; node < 8; node++)
		expect_sorted(node);
}

/* Different for each pair, in no order, below 255. */
static int scattered(int from, int to)
{
	return from == to ? 10 : 11 + (from * 31 + to * 37) % 211;
}

Test(topology, many_nodes_with_distances_of_their_own)
{
	machine_of(200);
	made_up.distance = scattered;
	cr_assert(machine_arrange(NULL));
	cr_assert_eq(t->nodes, 200);
	for (unsigned node = 0; node < 200; node++)
		expect_sorted(node);
}

Test(topology, numbers_with_gaps)
{
	machine_begin(701, 6);
	machine_memory(0);
	machine_memory(5);
	machine_memory(700);
	machine_cpus(0, 2, 0);
	machine_cpus(2, 2, 5);
	machine_cpus(4, 2, 700);
	cr_assert(machine_arrange(NULL));
	EXPECT_DENSE(0, 5, 700);
	EXPECT_ORDER(0, 0, 1, 2);
	EXPECT_ORDER(2, 2, 1, 0);
	for (unsigned cpu = 0; cpu < 6; cpu++)
		cr_assert_eq(near__numa_node_of_cpu(cpu), cpu / 2);
	cr_assert_eq(near__numa_distance(0, 2), 710);
}

Test(topology, the_first_node_with_memory_need_not_be_0)
{
	machine_begin(6, 2);
	machine_memory(5);
	machine_cpus(0, 1, 0);
	machine_cpus(1, 1, 5);
	cr_assert_not(machine_arrange(NULL));
	EXPECT_DENSE(5);
	cr_assert_eq(near__numa_node_of_cpu(0), 0);
	cr_assert_eq(near__numa_node_of_cpu(1), 0);
}

Test(topology, no_node_with_memory_at_all)
{
	machine_begin(4, 4);
	machine_cpus(0, 4, 2);
	cr_assert_not(machine_arrange(NULL));
	cr_assert_eq(t->nodes, 1);
	cr_assert_not(t->bound);
}

/* Beyond those that the page map can name, the nearest of them serve. */
Test(topology, more_nodes_than_can_be_kept_apart)
{
	machine_begin(400, 400);
	for (unsigned node = 0; node < 400; node++) {
		if (node != 17)
			machine_memory(node);
		machine_cpus(node, 1, node);
	}
	cr_assert(machine_arrange(NULL));
	cr_assert_eq(t->nodes, OS_MAX_NODES);
	cr_assert_eq(t->kernel_node[OS_MAX_NODES - 1], 340, "one has none");
	for (unsigned node = 0; node < 400; node++) {
		unsigned dense = node < 17 ? node : node == 17 ? 16 : node <= 340 ? node - 1 : OS_MAX_NODES - 1;

		cr_assert_eq(near__numa_node_of_cpu(node), dense, "node %u", node);
		cr_assert_eq(near__numa_dense((int)node), node == 17 || node > 340 ? -1 : (int)dense);
	}
	for (unsigned node = 0; node < OS_MAX_NODES; node += 13)
		expect_sorted(node);
}

Test(topology, numbers_beyond_the_kernels_own_bound)
{
	machine_begin(OS_NODE_NUMBERS + 100, 2);
	machine_memory(0);
	machine_memory(OS_NODE_NUMBERS - 1);
	machine_cpus(0, 1, OS_NODE_NUMBERS - 1);
	machine_cpus(1, 1, OS_NODE_NUMBERS + 50);
	cr_assert(machine_arrange(NULL));
	EXPECT_DENSE(0, OS_NODE_NUMBERS - 1);
	cr_assert_eq(near__numa_node_of_cpu(0), 1);
	cr_assert(near__numa_node_of_cpu(1) == OS_NODE_UNKNOWN || near__numa_node_of_cpu(1) < 2);
}

/* ---- CPUs ----------------------------------------------------------------------------------------- */

Test(topology, thousands_of_cpus)
{
	machine_begin(3, OS_MAX_CPUS + 1000); /* more than can be told apart */
	for (unsigned node = 0; node < 3; node++)
		machine_memory(node);
	for (unsigned cpu = 0; cpu < OS_MAX_CPUS; cpu++)
		machine_cpus(cpu, 1, cpu * 7 % 3);
	cr_assert(machine_arrange(NULL));
	for (unsigned cpu = 0; cpu < OS_MAX_CPUS; cpu++)
		cr_assert_eq(near__numa_node_of_cpu(cpu), cpu * 7 % 3);
}

/* The node that the kernel says we are on has no memory here, so that its answer is no other's. */
static unsigned around_where_we_are(void)
{
	unsigned cpu = 0, node = 0;

	unit_pin((unsigned)unit_cpu(0));
	cr_assert_eq(syscall(SYS_getcpu, &cpu, &node, NULL), 0);
	machine_begin(node + 4, cpu + 3);
	machine_memory(node + 2);
	machine_memory(node + 1);
	machine_cpus(cpu + 1, 1, node + 1);
	machine_cpus(cpu + 2, 1, node + 2);
	return cpu;
}

static int second_is_nearer(int from, int to)
{
	return from == to ? 10 : 40 - to;
}

Test(topology, a_cpu_that_came_online_later_tells_its_node_when_we_run_there)
{
	unsigned cpu = around_where_we_are();

	made_up.distance = second_is_nearer;
	cr_assert(machine_arrange(NULL));
	cr_assert_eq(near__numa_node_of_cpu(cpu), 1, "the nearest with memory");
	cr_assert_eq(t->node_of_cpu[cpu], 1, "and it is remembered");
}

Test(topology, an_unknown_cpu_that_we_are_not_on_is_asked_again_later)
{
	unsigned here = around_where_we_are(), there = here ? 0 : 1;

	made_up.distance = second_is_nearer;
	made_up.cpus = 64;
	machine_cpus(0, 64, made_up.nodes - 2);
	made_up.node_of_cpu[there] = -1;
	cr_assert(machine_arrange(NULL));
	cr_assert_eq(near__numa_node_of_cpu(there), OS_NODE_UNKNOWN);
	cr_assert_eq(t->node_of_cpu[there], OS_NODE_UNKNOWN, "that was no answer to keep");
	cr_assert_eq(near__numa_node_of_cpu(here), 1);
}

/* ---- nodes without memory, and without CPUs -------------------------------------------------------- */

static int to_the_last(int from, int to)
{
	static const int distances[4][4] = {{10, 20, 30, 15}, {20, 10, 12, 0}, {30, 12, 10, 40}, {15, 0, 40, 10}};

	return distances[from][to];
}

Test(topology, cpus_without_memory_use_the_nearest)
{
	machine_of(4);
	near__bits_clear(made_up.memory, 1, 1);
	made_up.distance = to_the_last;
	cr_assert(machine_arrange(NULL));
	EXPECT_DENSE(0, 2, 3);
	cr_assert_eq(near__numa_node_of_cpu(0), 0);
	cr_assert_eq(near__numa_node_of_cpu(2), 1, "kernel node 2 is at 12; 3 is at an unknown distance");
	cr_assert_eq(near__numa_node_of_cpu(3), 1);
	cr_assert_eq(near__numa_node_of_cpu(4), 1);
	cr_assert_eq(near__numa_node_of_cpu(6), 2);
}

static int unknown(int from, int to)
{
	return from == to ? 10 : from < to ? 0 : -1;
}

Test(topology, unknown_distances_are_far_but_not_invented)
{
	machine_of(3);
	made_up.distance = to_the_last;
	cr_assert(machine_arrange(NULL));
	cr_assert_eq(near__numa_distance(0, 2), 30);
	machine_of(4);
	made_up.distance = to_the_last;
	cr_assert(machine_arrange(NULL));
	cr_assert_eq(near__numa_distance(1, 3), 0);
	EXPECT_ORDER(1, 1, 2, 0, 3);
	made_up.distance = unknown;
	cr_assert(machine_arrange(NULL));
	cr_assert_eq(near__numa_distance(2, 1), 0, "less than nothing is unknown, too");
	cr_assert_eq(near__numa_distance(1, 2), 0);
	EXPECT_ORDER(2, 2, 3, 0, 1);
}

/* Two ordinary nodes, and two pools of slow memory, the second of which lies beside the first node. */
static void with_slow_memory(void)
{
	machine_begin(5, 6);
	for (unsigned node = 0; node < 4; node++)
		machine_memory(node);
	machine_cpus(0, 2, 0);
	machine_cpus(2, 2, 1);
	machine_cpus(4, 2, 4); /* no memory; 3 is next to it */
}

Test(topology, memory_without_cpus_is_nobodys_neighbour)
{
	with_slow_memory();
	cr_assert(machine_arrange(NULL));
	EXPECT_DENSE(0, 1, 2, 3); /* a home for those who name it */
	cr_assert(!t->apart[0] && !t->apart[1] && t->apart[2] && t->apart[3]);
	EXPECT_ORDER(0, 0, 1);
	EXPECT_ORDER(1, 1, 0);
	EXPECT_ORDER(2, 2, 1, 0);
	EXPECT_ORDER(3, 3, 1, 0);
	cr_assert_eq(near__numa_node_of_cpu(4), 1, "not 3, though it is nearer");
}

static uint64_t *named(unsigned a, unsigned b)
{
	static uint64_t bits[NODE_WORDS];

	near__bits_clear(bits, 0, OS_NODE_NUMBERS);
	near__bits_set(bits, a, 1);
	near__bits_set(bits, b, 1);
	return bits;
}

Test(topology, memory_without_cpus_is_ordinary_when_it_is_named)
{
	with_slow_memory();
	cr_assert(machine_arrange(named(0, 3)));
	EXPECT_DENSE(0, 3);
	cr_assert(!t->apart[0] && !t->apart[1]);
	EXPECT_ORDER(0, 0, 1);
	cr_assert_eq(near__numa_node_of_cpu(0), 0);
	cr_assert_eq(near__numa_node_of_cpu(2), 0, "1 and 3: node 0 is nearer");
	cr_assert_eq(near__numa_node_of_cpu(4), 1);
	cr_assert(machine_arrange(named(3, 3)));
	EXPECT_DENSE(3);
	cr_assert(t->bound, "one, but it was asked for");
	EXPECT_ORDER(0, 0);
	cr_assert_eq(near__numa_node_of_cpu(0), 0);
}

Test(topology, memory_without_cpus_is_ordinary_when_there_is_no_other)
{
	machine_begin(5, 4);
	machine_cpus(0, 2, 0);
	machine_cpus(2, 2, 4);
	machine_memory(1);
	machine_memory(2);
	machine_memory(3);
	cr_assert(machine_arrange(NULL));
	EXPECT_DENSE(1, 2, 3);
	cr_assert(!t->apart[0] && !t->apart[1] && !t->apart[2]);
	EXPECT_ORDER(0, 0, 1, 2);
	EXPECT_ORDER(2, 2, 1, 0);
	cr_assert_eq(near__numa_node_of_cpu(0), 0);
	cr_assert_eq(near__numa_node_of_cpu(3), 2);
}

/* ---- named ones ------------------------------------------------------------------------------------ */

Test(topology, named_nodes_alone)
{
	machine_of(8);
	cr_assert(machine_arrange(named(2, 6)));
	EXPECT_DENSE(2, 6);
	EXPECT_ORDER(1, 1, 0);
	cr_assert_eq(near__numa_node_of_cpu(0), 0);
	cr_assert_eq(near__numa_node_of_cpu(2 * 3), 0);
	cr_assert_eq(near__numa_node_of_cpu(2 * 5), 1);
	cr_assert_eq(near__numa_node_of_cpu(2 * 4), 0, "equally far: the first");
	cr_assert_eq(near__numa_node_of_cpu(2 * 7), 1);
}

Test(topology, named_nodes_that_are_not_there_do_not_matter_beside_one_that_is)
{
	machine_of(4);
	cr_assert(machine_arrange(named(1, 900)));
	EXPECT_DENSE(1);
	cr_assert(t->bound);
}

Test(topology, no_name_means_all)
{
	static const uint64_t nobody[NODE_WORDS];

	machine_of(3);
	cr_assert(machine_arrange(nobody));
	EXPECT_DENSE(0, 1, 2);
}

Test(topology, the_only_node_can_be_bound_to_by_name)
{
	machine_of(1);
	cr_assert(machine_arrange(named(0, 0)));
	cr_assert(t->bound);
	EXPECT_DENSE(0);
}

static void name_strangers(void)
{
	machine_of(3);
	near__bits_clear(made_up.memory, 2, 1);
	_exit(machine_arrange(named(2, 77)) && t->nodes == 2 && t->bound ? 0 : 1);
}

static void name_strangers_on_one_node(void)
{
	machine_of(1);
	_exit(!machine_arrange(named(7, 7)) && t->nodes == 1 && !t->bound ? 0 : 1);
}

Test(topology, names_of_nothing_are_complained_about_and_ignored)
{
	static void (*const cases[])(void) = {name_strangers, name_strangers_on_one_node};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct ending end = unit_child(fork, cases[i]);

		cr_assert_eq(end.status, 0, "status %x", end.status);
		cr_assert_str_eq(end.text,
				 "nearmalloc: nodes: none of them has memory that we may use; all are used\n");
	}
}

/* ---- and again ------------------------------------------------------------------------------------- */

Test(topology, strictly_nobody_serves_for_another)
{
	machine_of(4);
	cr_assert(machine_arrange(NULL));
	near__topology.strict = true;
	for (unsigned node = 0; node < 4; node++)
		expect_order(node, (int[]){(int)node}, 1);
}

Test(topology, a_second_machine_leaves_nothing_of_the_first)
{
	with_slow_memory();
	cr_assert(machine_arrange(NULL));
	machine_of(2);
	cr_assert(machine_arrange(NULL));
	EXPECT_DENSE(0, 1);
	EXPECT_ORDER(0, 0, 1);
	cr_assert_eq(near__numa_node_of_cpu(3), 1);
	machine_of(4);
	cr_assert(machine_arrange(NULL));
	EXPECT_ORDER(0, 0, 1, 2, 3);
}

Test(topology, forgotten_it_is_one_node_again)
{
	machine_of(4);
	cr_assert(machine_arrange(NULL));
	near__topology.strict = true;
	near__topology.policy = OS_POLICY_UNKNOWN;
	near__numa_forget();
	cr_assert(t->nodes == 1 && !t->bound && !t->strict);
	cr_assert_eq(t->policy, OS_POLICY_UNKNOWN, "what the report tells");
	EXPECT_DENSE(0);
	EXPECT_ORDER(0, 0);
	for (unsigned cpu = 0; cpu < OS_MAX_CPUS; cpu++)
		cr_assert_eq(near__numa_node_of_cpu(cpu), 0);
}
