#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages:
# timeout: 500
#
# Many nodes on any machine: whole programs where a libnuma of ours tells of nodes that are not there.
. "$NEAR_SRC/test/lib.sh"
. "$NEAR_SRC/test/common/lib.sh"

check "a made up libnuma" "$CC" -O1 -fPIC -shared "$NEAR_SRC/test/env/libnuma/libnuma.c" -o libnuma.so.1 || exit
if ! "$BIN/nodes" may_bind >reason; then
	skip "programs on made up nodes" "$(cat reason)"
	exit 0
fi

# on NODES NAME SECONDS COMMAND...
on() {
	local nodes=$1 name=$2 limit=$3
	shift 3
	CONF=numa:on${CONF:+,$CONF} MADE_UP_NODES=$nodes LD_LIBRARY_PATH=$PWD try "$nodes nodes: $name" "$limit" "$@"
}

# The control: without such nodes this must fail.
untold() {
	if CONF=numa:on LD_LIBRARY_PATH=$PWD preloaded 30 env MADE_UP_NODES=1 "$BIN/nodes" dealt_out 2 >out 2>&1; then
		not_ok "control: nodes that nobody tells of are noticed ($mode)"
	else
		ok "control: nodes that nobody tells of are noticed ($mode)"
	fi
}

# within MIB NODES: the last heaps find no room
within() {
	# shellcheck disable=SC2016
	on "$2" "as many blocks as fit into $1 MiB${CONF:+, $CONF}" 60 bash -c 'ulimit -v $1; exec "$2" until_none' - $(($1 * 1024)) \
		"$BIN/nodes"
}

many() {
	local nodes
	for nodes in 2 3 8 340 500; do
		on $nodes "a bit of everything" 30 "$BIN/smoke"
	done
	for nodes in 1 2 5; do
		CONF=nodes:0-4 on $nodes "memory of the CPU's node" 30 "$BIN/nodes" dealt_out $nodes
	done
	untold
	on 2 "the heap under stress" 60 "$BIN/heap" threads=4 seconds=1 signals migrate trim fork
	CONF=decay_ms:0 on 2 "the heap without rest" 60 "$BIN/heap" threads=4 seconds=1 signals migrate trim fork
	CONF=remote_free:adopt,decay_ms:1 on 2 "the heap, adopting" 60 "$BIN/heap" threads=4 seconds=1 signals migrate trim \
		fork
	CONF=remote_free:adopt,depot_cache:64K on 3 "the heap, adopting into small depots" 60 "$BIN/heap" threads=4 seconds=1 \
		signals migrate trim fork
	on 2 "four producers, four consumers" 60 "$BIN/handoff" 4 4
	CONF=remote_free:adopt on 2 "the same, adopting" 60 "$BIN/handoff" 4 4
	on 2 "one producer, one consumer" 60 "$BIN/handoff" 1 1
	on 2 "generations of threads" 60 "$BIN/generations"
	on 2 "resizing" 60 "$BIN/resize"
	# The kernel has no node 1 on most machines of one node.
	[ -e /sys/devices/system/node/node1 ] ||
		CONF=numa_strict:true on 2 "strictly" 60 "$BIN/nodes" on 0 "$BIN/nodes" strictly
	for nodes in 2 60 340; do
		within 64 $nodes
		CONF=nodes:0-339 within 64 $nodes
	done
}

each_mode many
