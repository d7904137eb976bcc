/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * packet_churn: a packet buffer at a time, as in a firewall: allocate it, write the packet's length and zero that many
 * bytes, scan the rules, free it. And the same with little packets and no rules, where the allocator is most of it.
 *
 * The rate is measured without looking at single calls, the latencies in a second run.
 */
#include "latency.h"
#include "objects.h"

enum { RULES = 64 << 10 };

struct packet {
	size_t length;
	char data[];
};

static uint64_t rules[RULES / sizeof(uint64_t)];
static uint64_t rules_sum;
static size_t size, scan;
static uint64_t generator = FIRST_SEED;

static void scan_rules(void)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < scan / sizeof(*rules); i++)
		sum += ((volatile uint64_t *)rules)[i];
	if (sum != rules_sum)
		die("the rules were overwritten");
}

static void process(struct packet *packet)
{
	size_t most = size - sizeof(*packet), length = random_between(&generator, 64, 1463);

	packet->length = length < most ? length : most;
	memset(packet->data, 0, packet->length);
	if (scan)
		scan_rules();
	if (packet->length != (length < most ? length : most) || packet->data[packet->length - 1])
		die("a packet was overwritten");
}

static void churn(unsigned long ops)
{
	while (ops--) {
		struct packet *packet = get(size);

		process(packet);
		put(packet);
	}
}

static void churn_timed(unsigned long ops, struct latency *got, struct latency *freed)
{
	while (ops--) {
		uint64_t from = ticks();
		struct packet *packet = bench_malloc(size);

		latency_add(got, from, ticks());
		process(checked(packet, size, 16));
		from = ticks();
		bench_free(packet);
		latency_add(freed, from, ticks());
	}
}

static void run(void)
{
	size = number("size", 1540);
	scan = number_or_0("scan", RULES);

	unsigned long ops = scaled("ops", scan ? 100000 : 10000000, scan ? 20000 : 2000000);
	unsigned long timed = scaled("timed", 100000, 20000), warmup = number_or_0("warmup", 10000);
	struct latency *got = latency_new(), *freed = latency_new();

	if (size <= sizeof(struct packet) || scan > RULES)
		die("no such variant");
	for (size_t i = 0; i < scan / sizeof(*rules); i++)
		rules_sum += rules[i] = random_next(&generator);
	latency_prepare();
	churn(warmup);
	start();
	churn(ops);
	stop(ops);
	churn_timed(timed, got, freed);
	latency_report("malloc", got);
	latency_report("free", freed);
}

static const char *const rows[] = {"size=1540 scan=65536", "size=64 scan=0", NULL};

int main(int argc, char **argv)
{
	(void)argc;
	return workload_main(argv, &(struct workload){"packet_churn", rows, run});
}
