#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages:
#
# Hostile values for every argument of the interface, and for every option.
. "$NEAR_SRC/test/lib.sh"
. "$NEAR_SRC/test/common/lib.sh"
. "$NEAR_SRC/test/common/variant.sh"

NEAR_TEST_MODES="rseq locked" each_mode try "security: hostile arguments" 100 "$BIN/hostile"

# initial_pool is missing: it is made resident.
options() {
	local key value
	for key in cache_ttl decay_ms depot_cache extent_cache max_caches percpu_cache retain_max limit_soft; do
		for value in 0 1 9223372036854775808 18446744073709551615; do
			CONF=janitor:on,$key:$value NEAR_TEST_SCALE=0.2 preloaded 30 "$BIN/smoke" >out 2>&1 || {
				not_ok "security: hostile options ($mode)" "$key:$value: status $?" "$(last_words out)"
				return
			}
		done
	done
	ok "security: hostile options ($mode)"
}
NEAR_TEST_MODES="rseq locked" each_mode options

# broken NAME PATTERN FILE SED: must be noticed by the program, or crash it.
broken() {
	local name="control: $1 is noticed" pattern=$2 said
	shift 2
	if ! library_edited weak.so "$@" >log 2>&1; then
		not_ok "$name" "$(tail -n 5 log)"
		return
	fi
	said=$(LD_PRELOAD=$PWD/weak.so timeout -s KILL 60 "$BIN/hostile" 2>&1)
	check "$name" grep -qE "$pattern" <<<"$said"
}
broken "calloc whose product overflows" '^calloc.*given short|^calloc.*cannot be' malloc/slow.c \
	's/unlikely\(__builtin_mul_overflow\(count, size, &bytes\)\)/__builtin_mul_overflow(count, size, \&bytes), 0/'
broken "reallocarray whose product overflows" '^reallocarray' abi/libc.c \
	's/if \(__builtin_mul_overflow\(count, size, &bytes\)\)/if (__builtin_mul_overflow(count, size, \&bytes), 0)/'
broken "pvalloc that rounds up to nothing" '^pvalloc' abi/libc.c 's/size > SIZE_MAX - page/size == SIZE_MAX - page/'
broken "a negative node" '^calls for a node' abi/near.c 's/known = .*/known = true;/'
broken "figures longer than was asked for" '^figures' abi/near.c 's/size_min\(size, most\)/most/'
