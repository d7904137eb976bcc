#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# timeout: 600
#
# Operations on shared memory per pair of malloc and free, on a simulated machine with 2 to 256 CPUs (sim.h), against the
# bounds of doc/scaling.md, which do not depend on the number of CPUs. NEAR_TEST_SCALE=10 has more CPUs and longer runs.
#
#   test/scale/scale.sh --table      prints the tables of doc/scaling.md
#   test/scale/scale.sh ARGUMENT...  runs the program with these (scale.c)
NEAR_SRC=${NEAR_SRC:-$(cd "$(dirname "$0")/../.." && pwd)}
NEAR_BUILD=${NEAR_BUILD:-$NEAR_SRC/build}
CC=${CC:-gcc}
. "$NEAR_SRC/test/lib.sh"

WORKLOADS="churn waves partners fan exchange growth"

# The allocator announces its accesses, but for what calls the kernel for memory or libnuma. Fences do nothing here, for the
# machine keeps the order of the program, so gcc need not say that its sanitizer does not know them.
build() {
	local flags file wrap
	flags="-std=gnu11 -O2 -g -fno-strict-aliasing -ftls-model=initial-exec -include $NEAR_BUILD/config.h"
	flags+=" -include $NEAR_SRC/test/scale/thread.h -I$NEAR_SRC/src -I$NEAR_SRC/include -I$NEAR_SRC/test/scale"
	for file in malloc calloc realloc free; do
		flags+=" -fno-builtin-$file"
	done
	{
		find "$NEAR_SRC/src" -name '*.c' | grep -v -e /abi/ -e /cli/ -e /watch/ -e /os/numa.c -e /os/rcu.c |
			while read -r file; do
				echo "$CC $flags -fsanitize=thread -Wno-tsan -c $file -o $(tr / _ <<<"${file#"$NEAR_SRC/"}").o"
			done
		for file in "$NEAR_SRC"/test/scale/*.c; do
			echo "$CC $flags -Wall -Wextra -c $file -o $(basename "$file").o"
		done
	} | xargs -P 2 -d '\n' -n 1 sh -c || return
	wrap=$(printf ',--wrap=near__%s' lock_wait lock_wake os_cpu os_possible_cpus os_cgroup os_thread os_milliseconds)
	$CC ./*.o "-Wl$wrap" -o scale
}

# How often a CAS is tried again is chaotic, and some runs fall into step: of three that differ a little two must hold.
# What they do besides must be within its bounds in each.
in_step_by_chance() {
	local work
	! grep '^  ' <<<"$1" | grep -qv 'tried again' || return
	for work in 950 1050; do
		./scale "$2" "$3" "$4" $PAIRS $work || return
	done
}

bounded() {
	local name="scale: $1, $2 CPUs, $3 nodes" out more
	if out=$(./scale "$1" "$2" "$3" $PAIRS 1000); then
		ok "$name"
	elif more=$(in_step_by_chance "$out" "$1" "$2" "$3"); then
		ok "$name: in step in one run of three"
	else
		not_ok "$name" "$out" "$more"
	fi
}

# What cannot fail proves nothing.
refused() {
	local name=$1 out
	shift
	out=$(./scale "$@")
	case $? in
	1) ok "control: $name: $(sed -n 's/^  //p' <<<"$out" | head -n 1)" ;;
	*) not_ok "control: $name is within the bounds" "$out" ;;
	esac
}

each() {
	local w machine
	for machine in "${MACHINES[@]}"; do
		for w in $WORKLOADS; do
			# shellcheck disable=SC2086
			"$@" "$w" $machine
		done
	done
}

row() {
	./scale "$1" "$2" "$3" $PAIRS "$WORK"
}

table() {
	echo "workload  CPUs nodes     done     again     locks     waits     lines    cycles"
	MACHINES=("2 1" "4 1" "8 1" "16 1" "32 1" "64 1" "128 2" "256 4")
	WORK=1000 each row
	echo
	MACHINES=("2 1" "8 1" "16 1" "32 1" "64 1" "256 1")
	PAIRS=2000 WORK=0 each row
}

PAIRS=3000
if [ $# -gt 0 ]; then
	NEAR_BUILD=$(cd "$NEAR_BUILD" && pwd) || exit
	[ "$1" = --table ] || set -- ./scale "$@"
	cd "$(mktemp -d)" || exit
	trap 'rm -rf "$PWD"' EXIT
	build || exit
	"${@/--table/table}"
	exit
fi

check "scale: builds" build || exit 0
MACHINES=("2 1" "16 1" "64 1" "256 4")
if [ "${NEAR_TEST_SCALE%%.*}" -ge 10 ] 2>/dev/null; then
	MACHINES+=("4 1" "8 1" "32 1" "128 1" "128 2" "192 3")
	PAIRS=10000
fi
each bounded

PAIRS=1500
refused "magazines of one pointer" waves 16 1 $PAIRS 1000 one-slot
refused "one table for all CPUs" churn 16 1 $PAIRS 1000 one-table
