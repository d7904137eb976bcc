# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# machines: 4nodes 2nodes 8nodes 1cpu newest arm64 arm64-16k arm64-newest arm64-broken
# timeout: 1500
#
# Settings of the kernel and of libc under which programs may find themselves: under each the allocator works, in the
# mode that it should be in.
# shellcheck shell=dash disable=SC2086
# shellcheck source=test/lab/suite/lib.sh
. "${0%/*}/lib.sh"

huge=/sys/kernel/mm/transparent_hugepage/enabled
vm=/proc/sys/vm

# Linux 6.19 to 7.0.13 on arm64 does not restart all sections, which must be noticed without being asked for.
expected=rseq
[ "$LAB_MACHINE" != arm64-broken ] || expected=locked

# works NAME MODE [COMMAND...]: a bit of everything, by a command that precedes it; the report names the mode.
works() {
	what=$1 wanted=$2
	shift 2
	NEARMALLOC_CONF=stats_print:true${conf:+,$conf} try "$what" 120 "$@" $near $LAB_BIN/lab-smoke
	said "$what: $wanted" "mode *$wanted"
	long || return
	NEARMALLOC_CONF=$conf try "$what: stress" 200 "$@" $near $LAB_BIN/lab-heap threads=4 seconds=3 signals migrate trim fork
}

# chosen WORDS: the one in brackets, as of "always [madvise] never"
chosen() {
	expr "$1" : '.*\[\(.*\)\]'
}

# with FILE VALUE COMMAND...: while the file of settings has another value
with() {
	file=$1 before=$(cat "$1" 2>/dev/null)
	case $before in *\[*) before=$(chosen "$before") ;; esac
	if ! echo "$2" 2>/dev/null >"$1"; then
		echo "skip $1 is $2 # the kernel does not take it"
		return
	fi
	shift 2
	"$@"
	echo "$before" >"$file"
}

NEAR_TEST_SCALE=0.3
export NEAR_TEST_SCALE
conf=''
works "as it is" $expected
works "rseq switched off in libc" $expected env GLIBC_TUNABLES=glibc.pthread.rseq=0
works "no membarrier" locked $LAB_BIN/lab-filtered membarrier ENOSYS
with $vm/overcommit_memory 2 works "overcommit 2" $expected
with $huge always works "huge pages always" $expected
long || exit 0
works "no rseq" locked $LAB_BIN/lab-filtered rseq ENOSYS
conf=rseq:off works "rseq:off" locked
conf=rseq:on works "rseq:on" $expected
with $vm/overcommit_memory 0 works "overcommit 0" $expected
with $vm/overcommit_memory 1 works "overcommit 1" $expected
with $huge never works "huge pages never" $expected
with $huge madvise works "huge pages on request" $expected
conf=thp:always with $huge always works "huge pages always, thp:always" $expected
with $vm/legacy_va_layout 1 works "address space from below" $expected
with /proc/sys/kernel/randomize_va_space 0 works "address space not random" $expected
with $vm/max_map_count 2000 works "2,000 mappings" $expected
with /proc/sys/kernel/numa_balancing 1 works "automatic balancing of nodes" $expected
