#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages:
# timeout: 600
#
# fork and its relatives, while everything else goes on.
. "$NEAR_SRC/test/lib.sh"
. "$NEAR_SRC/test/common/lib.sh"

forks() {
	local what
	for what in storm stdio_ring several_forkers atfork grandchildren raw_fork raw_fork_among_threads spawning size; do
		try "forks: $what" 150 "$BIN/forks" $what
	done
}

# The library named last is initialised first.
fork_handler_before_ours() {
	try "forks: a library's handler that comes first" 100 env LD_PRELOAD="$NEAR_LIB $BIN/early.so" "$BIN/latefork"
}

each_mode forks
each_mode fork_handler_before_ours
