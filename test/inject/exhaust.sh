#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages:
# timeout: 600
#
# Address space and mappings that end after so much more of them.
. "$NEAR_SRC/test/lib.sh"
. "$NEAR_SRC/test/common/broken.sh"

flags="-std=gnu11 -g -O1 -D_GNU_SOURCE -fno-builtin -pthread -Wall -Wextra -I$NEAR_SRC/include -I$NEAR_SRC/test/common"
# shellcheck disable=SC2086
check "exhaust: builds" $CC $flags "$NEAR_SRC/test/inject/exhaust.c" -o exhaust || exit

space=(0 100 700 1500 2048 4096 9000 20000 33000 70000)
mappings=(0 2 4 10 30)
if [ -n "${NEAR_TEST_LONG:-}" ]; then
	mapfile -t space < <(seq 0 64 4096; seq 4096 512 140000)
	mapfile -t mappings < <(seq 0 2 200)
fi

# all CASE LIBRARY ROOM...: how many runs failed in `failed`, of one what it said in `said`.
all() {
	local what=$1 library=$2 n
	shift 2
	failed=0
	for n; do
		{ LD_PRELOAD=$library timeout -s KILL 60 ./exhaust "$what" "$n" >out 2>&1; } 2>/dev/null && continue
		failed=$((failed + 1))
		said="$n: $(tail -n 2 out)"
	done
}

intact() {
	local what=$1
	shift
	all "$what" "$NEAR_LIB" "$@"
	if [ $failed -eq 0 ]; then
		ok "exhaust: $what, with $# amounts of room"
	else
		not_ok "exhaust: $what" "$failed of $# failed; the last with $said"
	fi
}

broken() {
	local name=$1 what=$2
	broken_library "$PWD/broken.so" "$3" "$4" >out 2>&1 || not_ok "control: $name" "$(cat out)"
	shift 4
	all "$what" "$PWD/broken.so" "$@"
	check "control: $name, $failed of $# failed" [ $failed -gt 0 ]
}

for conf in "" rseq:off extent_cache:0,decay_ms:0; do
	export NEARMALLOC_CONF=$conf
	intact space "${space[@]}"
	intact mappings "${mappings[@]}"
done
unset NEARMALLOC_CONF
broken "the result of mprotect is ignored" mappings os/pages.c \
	's/return \(int\)-(KERNEL\(SYS_mprotect.*\));/return \1, 0;/' "${mappings[@]}"
broken "the result of mmap is ignored" space os/pages.c \
	's/return kernel_pointer\((KERNEL\(SYS_mmap, 0, bytes.*)\);/return (void *)(\1 \& -4096l);/' "${space[@]}"
