#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages: gcc clang-tidy cppcheck libnuma-dev liburcu-dev
# timeout: 400
#
# What is found without running anything: by gcc -fanalyzer, clang-tidy (.clang-tidy says what it looks for) and cppcheck.
# Nothing may be found in the library and the command, and something in a file with faults.
. "$NEAR_SRC/test/lib.sh"

flags="-std=gnu11 -D_GNU_SOURCE -DPIC -fPIC -include $NEAR_BUILD/config.h -I$NEAR_SRC/src -I$NEAR_SRC/include"
flags+=' -DNEAR_BINDIR="/bin" -DNEAR_LIBDIR="/lib"'
for f in malloc calloc realloc free; do
	flags+=" -fno-builtin-$f"
done

grep -q 'NEAR_WITH_NUMA 1' "$NEAR_BUILD/config.h" || without=(! -name numa.c)
grep -q 'NEAR_WITH_URCU 1' "$NEAR_BUILD/config.h" || without+=(! -name rcu.c)
mapfile -t sources < <(find "$NEAR_SRC/src" -name '*.c' "${without[@]}" | sort)

# Each prints findings only.
by_gcc() {
	# shellcheck disable=SC2086
	printf '%s\0' "$@" | xargs -0 -P "$(nproc)" -n 1 $CC -O1 $flags -fanalyzer -c -o /dev/null 2>&1
}
by_tidy() {
	# shellcheck disable=SC2016
	printf '%s\0' "$@" | xargs -0 -P "$(nproc)" -n 4 sh -c \
		'flags=$1; shift; clang-tidy --quiet --config-file="$NEAR_SRC/.clang-tidy" "$@" -- $flags 2>/dev/null' - "$flags"
}
# internalAstError would mean that it did not understand a file.
by_cppcheck() {
	cppcheck --quiet --enable=warning,performance,portability --std=c11 -DPIC -DNEAR_BINDIR='""' -DNEAR_LIBDIR='""' \
		--include="$NEAR_BUILD/config.h" -I"$NEAR_SRC/src" -I"$NEAR_SRC/include" -j "$(nproc)" "$@" 2>&1
}

# A path on which memory is read that is not there; another on which it was never written.
cat >faulty.c <<'EOC'
#include <stddef.h>

int planted(const int *p, int n);

int planted(const int *p, int n)
{
	int sum;

	if (p == NULL)
		sum = *p;
	if (n > 3)
		sum = 1;
	return sum;
}
EOC

for analyser in gcc:gcc tidy:clang-tidy cppcheck:cppcheck; do
	name=${analyser#*:}
	command -v "$name" >/dev/null || {
		skip "analysis: $name" "not installed"
		continue
	}
	expect_nothing "analysis: $name finds nothing" "$("by_${analyser%:*}" "${sources[@]}")"
	check "control: $name finds what is planted" grep -qiE 'null|uninit' <("by_${analyser%:*}" "$PWD/faulty.c")
done
