#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages: binutils
# timeout: 7200
#
# Each instruction of each critical section, with everything that can happen there; and whether what is broken on
# purpose is noticed. On one node and on two that are made up, since some copies of a section serve only the one or the
# other. A tracer that waits for a minute gives up. NEAR_TRACE_ROUNDS: the long form, all so often.
. "$NEAR_SRC/test/trace/lib.sh"

need_commands objdump readelf addr2line
rounds=${NEAR_TRACE_ROUNDS:-1} machine=$(uname -m) prefix='' build=$NEAR_BUILD library=$NEAR_LIB compiler=$CC

run_tracer() {
	local variables=()
	while [ "$1" != -- ]; do
		variables+=("$1")
		shift
	done
	shift
	env "${variables[@]}" "$NEAR_BUILD/test/bin/tracer" "$@" "$NEAR_BUILD/test/bin/tracee" >log 2>&1
	status=$?
}

if ! grep -q '^#define NEAR_WITH_RSEQ 1' "$NEAR_BUILD/config.h" || [ ! -x "$NEAR_BUILD/test/bin/tracer" ]; then
	skip trace "built without critical sections"
	exit 0
fi
list_points "$library" >points
check "trace: the library has sections" [ -s points ] || exit
check "trace: a made up libnuma" "$CC" -O1 -fPIC -shared "$NEAR_SRC/test/env/libnuma/libnuma.c" -o libnuma.so.1 || exit

traced "one node" numa:off one
[ -z "${NEAR_TRACE_ROUNDS-}" ] ||
	traced "one node, the library's own rseq area" numa:off own GLIBC_TUNABLES=glibc.pthread.rseq=0
if LD_LIBRARY_PATH=$PWD MADE_UP_NODES=2 "$NEAR_BUILD/test/bin/nodes" may_bind >reason; then
	traced "two nodes" numa:on two LD_LIBRARY_PATH="$PWD" MADE_UP_NODES=2
	all_reached one two
else
	skip "trace: two nodes" "$(cat reason)"
fi
controls
