#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages:
#
# The first and the last moments of a process.
. "$NEAR_SRC/test/lib.sh"
. "$NEAR_SRC/test/common/lib.sh"

moments="preinit constructor main key key atexit destructor stdio"

edges() {
	local out status
	out=$(preloaded 20 "$BIN/startend" 2>&1)
	status=$?
	if [ $status -eq 0 ] && [ "$(echo $out)" = "$moments" ]; then
		ok "every moment of a process ($mode)"
	else
		not_ok "every moment of a process ($mode)" "status $status, moments: $(echo $out)" "wanted: $moments"
	fi
}

endings() {
	local way
	edges
	for way in exit quick_exit return pthread_exit last_thread cancelling_main forked_thread; do
		for turn in 1 2 3; do
			preloaded 20 "$BIN/endings" $way >out 2>&1 || break
		done
		judge "ends by $way while threads allocate" $? out
	done
}

each_mode endings
