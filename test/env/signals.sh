#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages:
# timeout: 400
#
# Interruption at any instruction: signals that allocate, and changes of CPU.
. "$NEAR_SRC/test/lib.sh"
. "$NEAR_SRC/test/common/lib.sh"

interruptions() {
	local what
	for what in storm nested alternative_stack draining forking; do
		try "signals: $what" 40 "$BIN/signals" $what
	done
	try "another CPU at every call" 60 "$BIN/migrate"
}

each_mode interruptions
