#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages: util-linux
#
# Address space is where the kernel's randomisation puts it: every bit that it randomises takes both values in small
# blocks, large blocks and metadata, but those that alignment fixes.
. "$NEAR_SRC/test/lib.sh"
. "$NEAR_SRC/test/common/lib.sh"
. "$NEAR_SRC/test/common/variant.sh"

RUNS=96 # that a bit of so many fair ones is always the same happens once in 2^95

# fixed_bits COLUMN LOWEST HIGHEST <ADDRESSES: those that never change.
fixed_bits() {
	local line address first=() or=0 bit
	while read -r -a line; do
		address=$((16#${line[$1]}))
		[ ${#first[@]} -gt 0 ] || first=("$address")
		or=$((or | (address ^ first[0])))
	done
	for ((bit = $2; bit <= $3; bit++)); do
		[ $((or >> bit & 1)) -eq 1 ] || echo -n "$bit "
	done
}

# The lowest bit that can vary: a chunk is aligned to 2 MiB, and a large block may lie right below a region.
page_bits=$(awk -v bytes="$(getconf PAGESIZE)" 'BEGIN { for (; bytes > 1; bytes /= 2) bits++; print bits }')
highest=$((page_bits + $(cat /proc/sys/vm/mmap_rnd_bits 2>/dev/null || echo 0) - 1))
lowest=(21 21 "$page_bits")

collect() {
	local run
	for ((run = 0; run < RUNS; run++)); do
		"$@" "$BIN/bases" || return
	done
}

# judge_bases FILE: the first complaint.
judge_bases() {
	local column names=("small blocks" "a large block" metadata) stuck
	[ "$(wc -l <"$1")" -eq $RUNS ] || { tail -n 3 "$1" && return 1; }
	for column in 0 1 2; do
		stuck=$(fixed_bits $column "${lowest[column]}" $highest <"$1")
		[ -z "$stuck" ] || { echo "${names[column]}: bits that never change: $stuck" && return 1; }
	done
}

if [ "$(cat /proc/sys/kernel/randomize_va_space)" != 2 ] || [ $highest -lt 21 ]; then
	skip "security: addresses are random" "this kernel does not randomise them"
	exit 0
fi
# shellcheck disable=SC2317 # by each_mode
random() {
	# shellcheck disable=SC2046
	collect env $(mode_env) LD_PRELOAD="$NEAR_LIB" >addresses 2>&1
	check "security: $RUNS runs, bits up to $highest are random ($mode)" judge_bases addresses
}
each_mode random

# must_complain NAME PATTERN COMMAND...: what runs the program
must_complain() {
	local name="control: $1 is noticed" pattern=$2 said
	shift 2
	collect "$@" >addresses 2>&1
	said=$(judge_bases addresses)
	check "$name" grep -qE "$pattern" <<<"$said"
}
if setarch -R true 2>/dev/null; then
	must_complain "a kernel that does not randomise" "never change" setarch -R env LD_PRELOAD="$NEAR_LIB"
else
	skip "control: a kernel that does not randomise is noticed" "personality is refused here"
fi
if library_where fixed.so near__os_reserve '
	#include <sys/mman.h>
	#include <stddef.h>
	void *__wrap_near__os_reserve(size_t bytes, size_t align);
	void *__wrap_near__os_reserve(size_t bytes, size_t align) { (void)align;
		return mmap((void *)0x200000000000, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0); }'; then
	must_complain "a region at an address of our own" "^small blocks: .* never change" env LD_PRELOAD="$PWD/fixed.so"
else
	not_ok "control: a region at an address of our own is noticed" "does not build"
fi
