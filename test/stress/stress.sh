#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages:
# timeout: 400
#
# Programs that verify every byte they were given. NEAR_TEST_SCALE=100 makes a long run.
. "$NEAR_SRC/test/lib.sh"
. "$NEAR_SRC/test/common/lib.sh"

limit=$(awk -v s="${NEAR_TEST_SCALE:-1}" 'BEGIN { print int(60 * (s > 1 ? s : 1)) }')

# under_fault NAME SECONDS: the shadow heap under an allocator with that fault
under_fault() {
	timeout -s KILL 60 env BROKEN="$1" LD_PRELOAD="$broken" "$BIN/heap" seconds="$2" >out 2>&1
}

# Faults put into an allocator, each of which must be noticed: what cannot fail proves nothing.
negative_controls() {
	local broken=$BIN/broken.so fault
	[ -e "$broken" ] || broken=$BIN/.libs/broken.so
	if under_fault none 1; then
		ok "control: an allocator without a fault passes"
	else
		not_ok "control: an allocator without a fault passes" "$(last_words out)"
	fi
	for fault in overlap twice scribble dirty forget errno misalign; do
		if under_fault $fault 3; then
			not_ok "control: the fault '$fault' is noticed"
		else
			ok "control: the fault '$fault' is noticed"
		fi
	done
}

stress() {
	try "heap, 1 thread" "$limit" "$BIN/heap" threads=1 seconds=1
	try "heap, 4 threads" "$limit" "$BIN/heap" threads=4 seconds=2
	try "heap, 32 threads" "$limit" "$BIN/heap" threads=32 seconds=2
	try "heap, small blocks only" "$limit" "$BIN/heap" threads=4 seconds=2 max=200 blocks=5000
	try "heap, with migration" "$limit" "$BIN/heap" threads=4 seconds=2 migrate
	try "heap, with drains" "$limit" "$BIN/heap" threads=4 seconds=2 trim
	try "heap, with signals" "$limit" "$BIN/heap" threads=4 seconds=2 signals
	try "heap, with everything" "$limit" "$BIN/heap" threads=6 seconds=4 signals migrate trim fork checks
	try "one producer, one consumer" "$limit" "$BIN/handoff" 1 1
	try "four producers, four consumers" "$limit" "$BIN/handoff" 4 4
	try "one producer, four consumers" "$limit" "$BIN/handoff" 1 4
	try "four producers, one consumer" "$limit" "$BIN/handoff" 4 1
	try "generations of threads" "$limit" "$BIN/generations"
	try "resizing" "$limit" "$BIN/resize"
}

negative_controls
each_mode stress
