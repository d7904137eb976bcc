#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages:
# timeout: 300
#
# A control group whose memory is nearly used up: what is free goes back in time. Nothing else makes it here: the options
# would keep it.
. "$NEAR_SRC/test/lib.sh"

MOST=$((96 << 20))
keep=retain_max:1G,extent_cache:1G,decay_ms:1000000000000

# shellcheck disable=SC2086
check "group: builds" $CC -std=gnu11 -g -O1 -D_GNU_SOURCE -fno-builtin -I"$NEAR_SRC/test/common" \
	"$NEAR_SRC/test/inject/group.c" -o group || exit

# A group of version 1 or 2 with that much memory, and no swap; its folder in $folder.
make_group() {
	local top
	for top in /sys/fs/cgroup/memory /sys/fs/cgroup; do
		folder=$top/nearmalloc-test.$$
		mkdir "$folder" 2>/dev/null || continue
		trap 'rmdir "$folder"' EXIT
		echo $MOST 2>/dev/null >"$folder/memory.limit_in_bytes" || echo $MOST 2>/dev/null >"$folder/memory.max" || {
			rmdir "$folder"
			continue
		}
		echo $MOST 2>/dev/null >"$folder/memory.memsw.limit_in_bytes" || echo 0 2>/dev/null >"$folder/memory.swap.max"
		return 0
	done
	trap - EXIT
	return 1
}

# inside OPTIONS
inside() {
	sh -c 'echo $$ >"$1/cgroup.procs" && NEARMALLOC_CONF=$2 LD_PRELOAD=$3 exec ./group' - "$folder" "$1" "$NEAR_LIB"
}

if ! make_group; then
	skip "group" "no control group with a limit of memory can be made here"
	exit 0
fi
for mode in "" rseq:off, thp:always, numa:on,; do
	check "group: full, emptied, and filled with something else (${mode:-default})" inside "$mode$keep"
done
inside "$keep,limit_soft:1T" >/dev/null 2>&1
check "control: without the soft limit that comes of the group it is killed" [ $? -eq 137 ]
