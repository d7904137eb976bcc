#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages: valgrind
# timeout: 300
#
# Speed without a clock: the instructions that the library executes in each trace of trace.c, by callgrind, against those
# in the file `counts`, of which they may exceed none by more than 1 %. valgrind knows no rseq, so this is the locked
# mode: everything but the sections, which test/build/instructions.sh counts.
#
#   test/gate/counts.sh --record      writes `counts` anew, after a change that is worth it
#
# Only the library's own instructions count: those of libc and of the kernel are not ours, and libc's depend on the CPU.
NEAR_SRC=${NEAR_SRC:-$(cd "$(dirname "$0")/../.." && pwd)}
. "$NEAR_SRC/test/lib.sh"

SLACK=100 # a hundredth
counts=$NEAR_SRC/test/gate/counts

# What the traces must not depend on: the nodes and the number of CPUs of this machine, and the time.
CONF=rseq:off,numa:off,percpu_cache:8m,decay_ms:1000000000

# The compiler and its options, as they stand in the library and the build.
built_by() {
	local flags
	flags=$(sed -n 's/^CFLAGS = //p' "$NEAR_BUILD/Makefile")
	echo "$(uname -m), $(readelf -p .comment "$NEAR_LIB" | sed -nE 's/^ *\[ *0\] *//p'), $flags"
}

cpus() {
	cat /sys/devices/system/cpu/possible
}

# count TRACE [LIBRARY]: instructions of the library. Nothing: it has not run, or somebody else's malloc was called.
count() {
	local lib=${2:-$NEAR_LIB} conf=$CONF collect=(--toggle-collect=counted)
	[ "$1" != start ] || collect=()
	[ "$1" != flush ] || conf+=,depot_cache:0
	NEARMALLOC_CONF=$conf LD_PRELOAD=$lib taskset -c "$(allowed_cpu)" valgrind --tool=callgrind \
		"${collect[@]}" --callgrind-out-file=profile --compress-strings=no --compress-pos=no --dump-line=no \
		"$trace" "$1" >log 2>&1 || return
	awk -v lib="$(realpath "$lib")" '
	/^ob=/ { ours = substr($0, 4) == lib }
	/^fn=(malloc|free|calloc|realloc)(@.*)?$/ && !ours { strange = 1 }
	/^calls=/ { getline; next }
	/^[0-9]/ && ours { sum += $2 }
	END { if (sum && !strange) print sum }
	' profile
}

# One CPU, or a migration makes a second table.
allowed_cpu() {
	taskset -cp $$ | sed -E 's/.*: *([0-9]+).*/\1/'
}

record() {
	local name n
	{
		echo "# Written by counts.sh --record: instructions of the library in each trace, in locked mode."
		echo "# built by: $(built_by)"
		echo "# start depends on the possible CPUs: $(cpus)"
		for name in $("$trace"); do
			n=$(count "$name")
			[ -n "$n" ] || die "trace $name was not counted: $(tail -n 5 log)"
			echo "$name $n"
		done
	} >new || exit 1
	cp new "$counts"
	cat "$counts"
}

die() {
	echo "counts.sh: $*" >&2
	exit 1
}

noted() {
	sed -n "s/^# $1: //p" "$counts"
}

within() {
	[ -n "$1" ] && [ "$1" -le $(($2 + $2 / SLACK)) ]
}

compare() {
	local name=$1 recorded=$2 n
	if [ "$name" = start ] && [ "$(noted 'start depends on the possible CPUs')" != "$(cpus)" ]; then
		skip "instructions: start" "recorded on a machine with CPUs $(noted 'start depends on the possible CPUs')"
		return
	fi
	n=$(count "$name")
	if within "$n" "$recorded"; then
		ok "instructions: $name takes $n, recorded $recorded"
	else
		not_ok "instructions: $name" "takes ${n:-unknown}, recorded $recorded" "$(tail -n 5 log)"
	fi
}

# The library with some instructions of no use in a function, given as FILE and the edit that puts them there.
wasteful() {
	local file=$1 edit=$2 object objects
	object=$(basename "$file" .c).o
	sed -E "$edit" "$NEAR_SRC/src/$file" >wasteful.c
	! cmp -s wasteful.c "$NEAR_SRC/src/$file" || return
	# shellcheck disable=SC2046
	$CC $(sed -nE 's/^(CFLAGS|NEAR_CFLAGS) = //p' "$NEAR_BUILD/Makefile") -fPIC -include "$NEAR_BUILD/config.h" \
		-I"$NEAR_SRC/src" -I"$NEAR_SRC/include" -c wasteful.c || return
	mapfile -t objects < <(find "$NEAR_BUILD/src" -path '*/.libs/*.o' ! -name "$object")
	$CC -shared -pthread -Wl,-Bsymbolic-functions wasteful.o "${objects[@]}" -o wasteful.so
}

# What cannot fail proves nothing.
control() {
	local name="control: $1 is noticed in $2" n recorded
	recorded=$(sed -n "s/^$2 //p" "$counts")
	wasteful "$3" "$4" || {
		not_ok "$name" "the wasteful library cannot be built"
		return
	}
	n=$(count "$2" ./wasteful.so)
	if [ -z "$n" ] || within "$n" "$recorded"; then
		not_ok "$name" "takes ${n:-unknown}, recorded $recorded"
	else
		ok "$name: $n, recorded $recorded"
	fi
}

if [ "${1-}" = --record ]; then
	NEAR_BUILD=$NEAR_SRC/build
	NEAR_LIB=$("$NEAR_SRC/dev" lib) && make -C "$NEAR_BUILD" -s test/bin/trace || exit 1
	cd "$(mktemp -d)" || exit 1
	trap 'rm -rf "$PWD"' EXIT
fi
trace=$NEAR_BUILD/test/bin/trace
need_commands valgrind taskset readelf
[ "${1-}" != --record ] || {
	record
	exit
}

if [ "$(built_by)" != "$(noted 'built by')" ]; then
	skip "instructions" "recorded for $(noted 'built by'); this is $(built_by)"
	exit 0
fi
while read -r name recorded; do
	compare "$name" "$recorded"
done < <(grep -v '^#' "$counts")
NOPS='__asm__ volatile("nop; nop; nop; nop");'
control "four instructions more in the locked pop" hot arch/generic/locked.c \
	"/^void \*near__locked_pop/,/^}/ s/^\tlock_release\(lock\);/\t$NOPS\n&/"
control "four instructions more where a pointer is resolved" flush malloc/lookup.c \
	"/^struct block near__lookup/,/^}/ s/^\{/&\n\t$NOPS/"
