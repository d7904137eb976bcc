#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages: gcc clang libnuma-dev liburcu-dev
# timeout: 420
#
# The library and the command compile without a warning, with gcc and clang, for release and with the run-time
# checks.
. "$NEAR_SRC/test/build/lib.sh"
need_unconfigured_source

for compiler in gcc clang; do
	command -v $compiler >/dev/null || {
		skip "warnings: $compiler" "not installed"
		continue
	}
	for debug in disable enable; do
		dir=$compiler-$debug
		check "warnings: $compiler, --$debug-debug, configures" \
			configured "$dir" --disable-static --$debug-debug CC=$compiler &&
			check "warnings: $compiler, --$debug-debug, none" built "$dir" all CFLAGS='-g -O2 -Werror'
	done
done
