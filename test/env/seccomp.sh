#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages:
# timeout: 400
#
# System calls refused by a filter: from the start, and from some moment while threads run.
. "$NEAR_SRC/test/lib.sh"
. "$NEAR_SRC/test/common/lib.sh"

calls="rseq membarrier mbind get_mempolicy getcpu madvise process_madvise mremap prctl getrandom sched_getaffinity clone3 all"

refuse() {
	local call error
	for call in $calls; do
		for error in ENOSYS EPERM; do
			try "$call answers $error" 20 "$BIN/filtered" "$call" "$error" "$BIN/smoke"
			try "$call answers $error from some moment" 20 "$BIN/smoke" late "$call" "$error"
		done
	done
}

each_mode refuse
