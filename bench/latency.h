/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Latencies of single calls, by the processor's counter, in a histogram whose buckets are about a hundredth of the
 * value wide. The time that reading the counter takes is subtracted. A histogram belongs to one thread; those of
 * many are added up at the end.
 */
#ifndef NEAR_BENCH_LATENCY_H
#define NEAR_BENCH_LATENCY_H

#include "workload.h"

#ifdef __x86_64__
#include <x86intrin.h>
#endif

enum {
	FINE_BITS = 7,	 /* 128 buckets for every doubling */
	VALUE_BITS = 44, /* more ticks than that, hours, count as the most */
	BUCKETS = (VALUE_BITS - FINE_BITS + 1) << FINE_BITS,
};

struct latency {
	uint64_t count, sum, max;
	uint64_t buckets[BUCKETS];
};

/* All that was called before is done. */
static inline uint64_t ticks(void)
{
#if defined(__x86_64__)
	unsigned cpu;
	uint64_t now = __rdtscp(&cpu);

	_mm_lfence();
	return now;
#elif defined(__aarch64__)
	uint64_t now;

	__asm__ volatile("isb\n\tmrs %0, cntvct_el0\n\tisb" : "=r"(now)::"memory");
	return now;
#else
	return now_ns();
#endif
}

static uint64_t ticks_cost; /* of reading the counter */
static uint64_t ticks_step; /* by which it advances: some count in steps of ten ns */
static uint64_t ticks_began, ticks_began_ns;

/* Before anything is measured. The cost is the median of means, for single readings may see no step or two. */
static inline void latency_prepare(void)
{
	enum { BATCHES = 101, BATCH = 100 };
	double means[BATCHES];

	ticks_step = UINT64_MAX;
	for (unsigned i = 0; i < BATCHES; i++) {
		means[i] = 0;
		for (unsigned j = 0; j < BATCH; j++) {
			uint64_t from = ticks(), took = ticks() - from;

			means[i] += (double)took / BATCH;
			if (took && took < ticks_step)
				ticks_step = took;
		}
	}
	ticks_cost = (uint64_t)median(means, BATCHES);
	ticks_began = ticks();
	ticks_began_ns = now_ns();
}

static inline double ns_per_tick(void)
{
	return (double)(now_ns() - ticks_began_ns) / (double)(ticks() - ticks_began);
}

static inline struct latency *latency_new(void)
{
	return table(1, sizeof(struct latency));
}

static inline unsigned bucket_of(uint64_t value)
{
	unsigned shift;

	if (value >> FINE_BITS == 0)
		return (unsigned)value;
	if (value >> VALUE_BITS)
		return BUCKETS - 1;
	shift = 63 - FINE_BITS - (unsigned)__builtin_clzll(value);
	return (shift << FINE_BITS) + (unsigned)(value >> shift);
}

/* The greatest value in a bucket. */
static inline uint64_t bucket_end(unsigned bucket)
{
	unsigned shift = bucket >> FINE_BITS ? (bucket >> FINE_BITS) - 1 : 0;

	return ((uint64_t)(bucket - (shift << FINE_BITS) + 1) << shift) - 1;
}

/* A call between two readings of the counter. */
static inline void latency_add(struct latency *latency, uint64_t from, uint64_t to)
{
	uint64_t took = to - from > ticks_cost ? to - from - ticks_cost : 0;

	latency->count++;
	latency->sum += took;
	if (took > latency->max)
		latency->max = took;
	latency->buckets[bucket_of(took)]++;
}

static inline void latency_merge(struct latency *into, const struct latency *from)
{
	into->count += from->count;
	into->sum += from->sum;
	into->max = from->max > into->max ? from->max : into->max;
	for (unsigned i = 0; i < BUCKETS; i++)
		into->buckets[i] += from->buckets[i];
}

/* The value that `share` of all are not above, in ticks. */
static inline uint64_t latency_quantile(const struct latency *latency, double share)
{
	uint64_t below = 0;

	for (unsigned i = 0; i < BUCKETS; i++) {
		below += latency->buckets[i];
		if ((double)below >= share * (double)latency->count)
			return bucket_end(i) < latency->max ? bucket_end(i) : latency->max;
	}
	return latency->max;
}

static inline void latency_report(const char *what, const struct latency *latency)
{
	static const struct {
		const char *name;
		double share;
	} quantiles[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}, {"p99.99", 0.9999}, {"max", 1}};
	double ns = ns_per_tick();
	char metric[64];

	for (unsigned i = 0; i < sizeof(quantiles) / sizeof(*quantiles); i++) {
		snprintf(metric, sizeof(metric), "%s_%s_ns", what, quantiles[i].name);
		report(metric, ns * (double)latency_quantile(latency, quantiles[i].share), "lower");
	}
	snprintf(metric, sizeof(metric), "%s_mean_ns", what);
	report(metric, ns * (double)latency->sum / (double)latency->count, "lower");
}

#endif
