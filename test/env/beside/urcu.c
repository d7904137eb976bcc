/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * A program that uses liburcu in two flavours, one of them that of the allocator, and libnuma, as their manuals say: with
 * registered readers, call_rcu and the handlers for fork; while the allocator walks and unmaps behind its back.
 *
 * Built with -lurcu-bp -lurcu-memb -lnuma.
 */
#include <near/malloc.h>
#include <numa.h>
#include <signal.h>
#include <urcu/urcu-bp.h>
#include <urcu/urcu-memb.h>

#include "shadow.h"
#include "threads.h"

#pragma weak near_walk
#pragma weak near_trim
#pragma weak near_residence

/* Of these the header names those of one flavour only. */
void urcu_memb_call_rcu(struct rcu_head *head, void (*call)(struct rcu_head *));
void urcu_memb_barrier(void);

struct node {
	uint64_t mark[6];
	struct rcu_head head;
};

static struct node *shared[2]; /* read under bp, and under memb */
static bool stop;

static struct node *make_node(void)
{
	struct node *node = malloc(sizeof(*node));

	CHECK(node != NULL);
	for (unsigned i = 0; i < 6; i++)
		node->mark[i] = (uintptr_t)node + i;
	return node;
}

static void verify_node(const struct node *node)
{
	for (unsigned i = 0; node != NULL && i < 6; i++)
		CHECK(node->mark[i] == (uintptr_t)node + i);
}

static void free_node(struct rcu_head *head)
{
	struct node *node = (struct node *)((char *)head - offsetof(struct node, head));

	verify_node(node);
	memset(node, 0xdd, sizeof(*node));
	free(node);
}

static bool stopped(void)
{
	return __atomic_load_n(&stop, __ATOMIC_RELAXED);
}

static void read_both(void)
{
	urcu_bp_read_lock();
	verify_node(__atomic_load_n(&shared[0], __ATOMIC_CONSUME));
	urcu_memb_read_lock();
	verify_node(__atomic_load_n(&shared[1], __ATOMIC_CONSUME));
	free(malloc(300));
	urcu_memb_read_unlock();
	urcu_bp_read_unlock();
}

static void *reader(void *seed)
{
	struct shadow s;

	urcu_memb_register_thread();
	shadow_open(&s, 200, 3000000, (uintptr_t)seed);
	while (!stopped()) {
		read_both();
		shadow_steps(&s, 20);
	}
	shadow_close(&s);
	urcu_memb_unregister_thread();
	return NULL;
}

static void *writer(void *arg)
{
	urcu_memb_register_thread();
	for (unsigned i = 0; !stopped(); i++) {
		struct node *old = __atomic_exchange_n(&shared[i % 2], make_node(), __ATOMIC_ACQ_REL);

		if (old == NULL)
			continue;
		if (i % 2)
			urcu_memb_call_rcu(&old->head, free_node);
		else
			urcu_bp_call_rcu(&old->head, free_node);
		if (i % 64 == 0)
			urcu_bp_synchronize_rcu();
		if (i % 64 == 1)
			urcu_memb_synchronize_rcu();
	}
	urcu_memb_unregister_thread();
	return arg;
}

static int visit(const struct near_range *range, void *argument)
{
	*(size_t *)argument += range->bytes;
	free(malloc(1000));
	return 0;
}

static void *walker(void *arg)
{
	struct near_residence residence;
	size_t bytes = 0;

	while (!stopped()) {
		CHECK(near_walk == NULL || near_walk(visit, &bytes) == 0);
		CHECK(near_residence == NULL || near_residence(&residence, sizeof(residence)) == 0);
		if (near_trim != NULL)
			near_trim(0);
	}
	return arg;
}

/* The program's own use of nodes. */
static void use_nodes(void)
{
	struct bitmask *nodes;
	void *memory;

	if (numa_available() < 0)
		return;
	nodes = numa_allocate_nodemask();
	memory = numa_alloc_onnode(1 << 20, 0);
	CHECK(nodes != NULL && memory != NULL);
	memset(memory, 1, 1 << 20);
	numa_bitmask_setbit(nodes, 0);
	numa_run_on_node_mask(nodes);
	numa_set_preferred(0);
	numa_free(memory, 1 << 20);
	numa_bitmask_free(nodes);
}

/* Readers of urcu-memb that did not come along are waited for in vain, so the child waits for those of urcu-bp only. */
static void child(void)
{
	size_t bytes = 0;

	alarm(60);
	read_both();
	urcu_bp_synchronize_rcu();
	use_nodes();
	free(make_node());
	CHECK(near_walk == NULL || near_walk(visit, &bytes) == 0);
	if (near_trim != NULL)
		near_trim(0);
	thread_join(thread_start(walker, NULL));
	_exit(0);
}

static void fork_once(void)
{
	pid_t pid;

	urcu_bp_call_rcu_before_fork();
	urcu_bp_before_fork();
	pid = fork();
	CHECK(pid != -1);
	if (pid == 0) {
		urcu_bp_after_fork_child();
		urcu_bp_call_rcu_after_fork_child();
		stop = true;
		child();
	}
	urcu_bp_after_fork_parent();
	urcu_bp_call_rcu_after_fork_parent();
	expect_clean_exit(pid);
}

int main(void)
{
	static void *(*const bodies[])(void *) = {reader, reader, writer, walker};
	pthread_t threads[4];

	urcu_memb_register_thread();
	for (unsigned i = 0; i < 4; i++)
		threads[i] = thread_start(bodies[i], (void *)(uintptr_t)(i + 1));
	for (unsigned i = 0; i < scaled(60); i++) {
		use_nodes();
		urcu_memb_thread_offline();
		fork_once();
		urcu_memb_thread_online();
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < 4; i++)
		thread_join(threads[i]);
	urcu_bp_barrier();
	urcu_memb_barrier();
	urcu_memb_unregister_thread();
	return 0;
}
