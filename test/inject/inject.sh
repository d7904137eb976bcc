#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages:
# timeout: 20000
#
# The library's system calls fail, one after the other: inject.c says how. The short form takes a few runs for each call,
# the long one (NEAR_TEST_LONG=1, ./dev inject) all that there are, and ends with a table.
#
#   NEAR_INJECT_RUNS   runs for each call of each workload
. "$NEAR_SRC/test/lib.sh"
. "$NEAR_SRC/test/common/broken.sh"

if [ "$(uname -m)" != x86_64 ]; then
	skip inject "the supervisor knows the registers of x86-64 only"
	exit 0
fi
runs=2
[ -z "${NEAR_TEST_LONG:-}" ] || runs=1000000
runs=${NEAR_INJECT_RUNS:-$runs}
table=$PWD/table

flags="-std=gnu11 -g -O1 -D_GNU_SOURCE -fno-builtin -pthread -Wall -Wextra -I$NEAR_SRC/include -I$NEAR_SRC/test/common"
build() {
	# shellcheck disable=SC2086
	$CC $flags "$NEAR_SRC"/test/inject/{inject,trace}.c -o inject &&
		$CC $flags "$NEAR_SRC/test/inject/workload.c" -o workload &&
		$CC -O1 -fPIC -shared "$NEAR_SRC/test/env/libnuma/libnuma.c" -o libnuma.so.1
}
check "inject: builds" build || exit

# So that a sandbox is no failure of ours.
./inject --one mmap:1000000:1:12 "$NEAR_LIB" ./workload small >said 2>&1 || {
	if grep -qiE 'seccomp|ptrace' said; then
		skip inject "$(head -n 1 said)"
		exit 0
	fi
}

# settings MODE: the environment.
settings() {
	case $1 in
	plain) echo NEARMALLOC_CONF=decay_ms:20 ;;
	locked) echo NEARMALLOC_CONF=rseq:off,decay_ms:20,initial_pool:2M,confirm_conf:true ;;
	selfreg) echo NEARMALLOC_CONF=purge:free,thp:always,cache_ttl:20 GLIBC_TUNABLES=glibc.pthread.rseq=0 ;;
	nodes) echo NEARMALLOC_CONF=numa:on,decay_ms:20 MADE_UP_NODES=3 LD_LIBRARY_PATH="$PWD" ;;
	strict) echo NEARMALLOC_CONF=nodes:0,numa_strict:true MADE_UP_NODES=1 LD_LIBRARY_PATH="$PWD" ;;
	esac
}

# sweep MODE WORKLOAD
sweep() {
	local status
	# shellcheck disable=SC2046
	env $(settings "$1") ./inject --runs "$runs" --table "$table" "$NEAR_LIB" ./workload "$2" >said 2>&1
	status=$?
	if [ $status -eq 0 ]; then
		ok "inject: $2 ($1): $(tail -n 1 said)"
	else
		not_ok "inject: $2 ($1)" "NEARMALLOC_CONF etc.: $(settings "$1")" "$(cat said)"
	fi
}

if [ "$runs" -gt 100 ]; then
	for mode in plain locked selfreg nodes strict; do
		for workload in small middle large resize give_back together fences threads forks figures; do
			sweep $mode $workload
		done
	done
else
	for workload in small middle large resize give_back together fences threads forks figures; do
		sweep plain $workload
	done
	for pair in "locked give_back" "locked threads" "selfreg forks" "nodes threads" "nodes figures" "strict middle"; do
		# shellcheck disable=SC2086
		sweep $pair
	done
fi

# No heap when the constructor runs, and none of its tables: children of threads must be mended all the same.
for times in 8 9; do
	if NEAR_TEST_SCALE=0.2 ./inject --one mmap:0:$times:12 "$NEAR_LIB" "$NEAR_BUILD/test/bin/forks" storm >said 2>&1; then
		ok "inject: forks where the first $times mappings failed"
	else
		not_ok "inject: forks where the first $times mappings failed" "$(cat said)"
	fi
done

# caught NAME CALL WORKLOAD FILE SED [OPTIONS]: what ignores the result of a call goes wrong when that fails.
caught() {
	local name="control: $1" status
	if ! broken_library "$PWD/broken.so" "$4" "$5" >said 2>&1; then
		not_ok "$name" "not built, or the edit applies to nothing" "$(cat said)"
		return
	fi
	NEARMALLOC_CONF=decay_ms:20${6:-} ./inject --runs "${CONTROL_RUNS:-12}" --only "$2" "$PWD/broken.so" ./workload "$3" >said 2>&1
	status=$?
	if [ $status -eq 1 ]; then
		ok "$name: $(tail -n 1 said)"
	else
		not_ok "$name is not noticed" "status $status" "$(cat said)"
	fi
}

# Most mappings that fail are missed by nobody: it takes more runs to meet one that is.
CONTROL_RUNS=36 caught "the result of mmap is ignored" mmap small os/pages.c \
	's/return kernel_pointer\((KERNEL\(SYS_mmap, 0, bytes.*)\);/return (void *)(\1 \& -4096l);/'
caught "the result of mprotect is ignored" mprotect small os/pages.c \
	's/return \(int\)-(KERNEL\(SYS_mprotect.*\));/return \1, 0;/'
caught "the result of munmap is ignored" munmap large os/pages.c \
	'/^void near__os_discard/,/^}/ s/!unmap\(page, pages\)/unmap(page, pages) || true/'
caught "an extent is forgotten though munmap fails" munmap large os/pages.c \
	'/^int near__os_unmap/,/^}/ s/return \(int\)-error;/return 0;/' ,extent_cache:0
caught "the result of madvise is ignored" madvise give_back os/pages.c \
	's/\(uint64_t\)!(KERNEL\(SYS_madvise, range.*\)) << i;/(\1, (uint64_t)1) << i;/'
caught "the result of process_madvise is ignored" process_madvise together os/pages.c \
	's/done < n && bytes >= \(long\)range\[done\].iov_len;/done < n;/'
caught "the result of mremap is ignored where a mapping moves" mremap resize os/pages.c \
	'/^int near__os_move/,/^}/ s/error = remap_result\((.*)\);/\1, error = 0;/'
caught "the result of membarrier is ignored" membarrier fences os/membarrier.c \
	's/return \(int\)-(KERNEL\(.*CMD_FLAG_CPU, cpu\));/return \1, 0;/'

[ ! -s "$table" ] || {
	echo "call, calls seen, runs: not reached, worked, refused, ended by libc, wrong, killed, hung"
	awk '{ seen[$1] += $2; runs[$1] += $3; for (i = 4; i <= 10; i++) n[$1, i] += $i }
		END { for (call in runs) {
			printf "%-18s %6d %7d:", call, seen[call], runs[call]
			for (i = 4; i <= 10; i++) printf " %6d", n[call, i]
			print "" } }' "$table" | sort
}
