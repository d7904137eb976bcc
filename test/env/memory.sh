#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages: liburcu8
# timeout: 300
#
# How much memory is resident, and how it comes back.
. "$NEAR_SRC/test/lib.sh"
. "$NEAR_SRC/test/common/lib.sh"

check "memory: workloads are built" make -C "$NEAR_BUILD" -s bench-programs || exit
bench=$NEAR_BUILD/bench

# median METRIC COMMAND...: of five runs.
median() {
	local metric=$1
	shift
	for _ in 1 2 3 4 5; do
		"$@" | sed -n "s/^$metric \([0-9]*\).*/\1/p"
	done | sort -n | sed -n 3p
}

# beside NAME METRIC MOST WORKLOAD ARGUMENT...: so many KiB more at most than the same on the C library's allocator.
beside() {
	local name=$1 metric=$2 most=$3 libc ours
	shift 3
	libc=$(median "$metric" "$bench/$1" "${@:2}") ours=$(AT_END= median "$metric" preloaded 60 "$bench/$1" "${@:2}")
	check "memory: $name: ${ours:-?} KiB, with the C library's ${libc:-?}" [ "$ours" -le $((libc + most)) ]
}

crowd() {
	try "memory: 10,000 idle threads" 60 "$BIN/crowd"
}

memory() {
	local what
	for what in million short_threads alone imbalance storm; do
		try "memory: $what" 60 "$BIN/memory" $what
	done
	for what in idle survivors scattered; do
		CONF=decay_ms:2000 try "memory: $what" 60 "$BIN/memory" $what
	done
	for what in regrown regrown_alone; do
		CONF=decay_ms:1000000,cache_ttl:1000000 try "memory: $what" 60 "$BIN/memory" $what
	done
	CONF=decay_ms:50 try "memory: walkers" 60 "$BIN/memory" walkers
	CONF=limit_hard:64M try "memory: hard limit" 60 "$BIN/memory" hard
	CONF=limit_hard:8M try "memory: far apart" 60 "$BIN/memory" apart
	CONF=limit_soft:32M try "memory: soft limit" 60 "$BIN/memory" soft
	CONF=limit_soft:32M,limit_hard:64M try "memory: limits are told" 60 "$BIN/memory" callback
	CONF=initial_pool:16M try "memory: initial pool" 60 "$BIN/memory" pool
}

# elsewhere COMMAND...: KiB of a small process that are resident outside libc and the dynamic linker. How many of their
# pages the kernel maps ahead depends on where they are loaded, and differs by 250 KiB from run to run.
elsewhere() {
	"$@" "$BIN/small" | awk '/^[0-9a-f]+-/ { file = $6 } /^Rss:/ && file !~ /\/(libc\.so|ld-)/ { kib += $2 } END { print kib }'
}

libc=$(elsewhere env) ours=$(AT_END= elsewhere preloaded 60)
check "memory: a small process: $ours KiB beside libc, without us $libc" [ "$ours" -le $((libc + 336)) ]
if said=$("$bench/idle_threads" threads=10000 2>&1); then
	beside "10,000 idle threads" end_rss 0 idle_threads threads=10000
	each_mode crowd
else
	skip "memory: 10,000 idle threads" "not to be had here: $(tail -n 1 <<<"$said")"
fi
each_mode memory
