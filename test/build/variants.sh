#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# timeout: 420
#
# Each option of configure builds, out of the source tree, and the result serves an example program, preloaded.
. "$NEAR_SRC/test/build/lib.sh"
need_unconfigured_source

check "variants: the example compiles" $CC -O1 -I"$NEAR_SRC/include" "$example_c" "$NEAR_LIB" -o example || exit

variant() {
	local name=$1
	shift
	check "variants: $name configures" configured "$name" --disable-static "$@" &&
		check "variants: $name builds" built "$name" libnearmalloc.la &&
		check "variants: $name runs" env LD_PRELOAD="$PWD/$name/.libs/libnearmalloc.so.0" ./example &&
		check "variants: $name runs in locked mode" \
			env LD_PRELOAD="$PWD/$name/.libs/libnearmalloc.so.0" NEARMALLOC_CONF=rseq:off,abort_conf:true ./example
}
variant without-numa --without-numa
variant without-urcu --without-urcu
variant without-both --without-numa --without-urcu
variant disable-rseq --disable-rseq
variant enable-debug --enable-debug
variant optimised CFLAGS='-O3 -g'
variant unoptimised CFLAGS='-O0 -g'

expect_nothing "variants: building leaves no object in the source" \
	"$(find "$NEAR_SRC" -path "$NEAR_BUILD" -prune -o \( -name '*.o' -o -name '*.lo' \) -print)"
