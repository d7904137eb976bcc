#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages:
# timeout: 400
#
# Many threads, small threads, cancelled threads, fibers that change threads.
. "$NEAR_SRC/test/lib.sh"
. "$NEAR_SRC/test/common/lib.sh"

threads() {
	local what
	for what in ten_thousand minimum_stacks small_stacks cancelled cancelled_asynchronously churn; do
		try "threads: $what" 60 "$BIN/threads" $what
	done
	try "fibers that change threads" 60 "$BIN/fibers"
}

each_mode threads
