#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages: liburcu8
# timeout: 300
#
# How much memory is resident, and how it comes back.
. "$NEAR_SRC/test/lib.sh"
. "$NEAR_SRC/test/common/lib.sh"

memory() {
	local what
	for what in million short_threads alone imbalance storm; do
		try "memory: $what" 60 "$BIN/memory" $what
	done
	for what in idle survivors scattered; do
		CONF=decay_ms:2000 try "memory: $what" 60 "$BIN/memory" $what
	done
	CONF=decay_ms:50 try "memory: walkers" 60 "$BIN/memory" walkers
	CONF=limit_hard:64M try "memory: hard limit" 60 "$BIN/memory" hard
	CONF=limit_soft:32M try "memory: soft limit" 60 "$BIN/memory" soft
	CONF=limit_soft:32M,limit_hard:64M try "memory: limits are told" 60 "$BIN/memory" callback
	CONF=initial_pool:16M try "memory: initial pool" 60 "$BIN/memory" pool
}

each_mode memory
