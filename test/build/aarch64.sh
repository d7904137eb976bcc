#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages: gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user
# timeout: 420
#
# Cross-built for aarch64, its critical sections assembled; run in locked mode, for qemu-user knows no rseq.
. "$NEAR_SRC/test/build/lib.sh"
need_unconfigured_source
cross=aarch64-linux-gnu-gcc
need_commands $cross qemu-aarch64

check "aarch64: configures" configured build --host=aarch64-linux-gnu CC=$cross --without-numa --without-urcu || exit
check "aarch64: builds without a warning" built build all CFLAGS='-g -O2 -Werror' || exit
library=$PWD/build/.libs/libnearmalloc.so.0

descriptors=$(aarch64-linux-gnu-objdump -d "$library" | grep -c 'd428bc00')
check "aarch64: critical sections are in it" [ "$descriptors" -gt 0 ]
expect_nothing "aarch64: no call of an atomics library" "$(aarch64-linux-gnu-nm -D "$library" | grep -E '__atomic_|__aarch64_')"

check "aarch64: the example compiles" $cross -O1 -I"$NEAR_SRC/include" "$example_c" "$library" -o example || exit
run=(qemu-aarch64 -L /usr/aarch64-linux-gnu -E LD_LIBRARY_PATH="${library%/*}")
check "aarch64: the example runs" "${run[@]}" ./example
check "aarch64: and says locked" grep -qi locked <("${run[@]}" -E NEARMALLOC_CONF=stats_print:true ./example 2>&1)

check "aarch64: the example compiles, fully static" $cross -O1 -static -I"$NEAR_SRC/include" "$example_c" \
	build/.libs/libnearmalloc.a -o example-static &&
	check "aarch64: the example runs, fully static" qemu-aarch64 ./example-static
