#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages: gcc clang libclang-rt-14-dev valgrind libcriterion-dev
# timeout: 900
#
# The unit tests under gcc's AddressSanitizer and UndefinedBehaviorSanitizer and under valgrind, and the corpus of the
# fuzzer in the locked mode under ThreadSanitizer, each with a fault that it must report. NEAR_TEST_LONG=1: under
# valgrind all units that can run there, instead of some.
. "$NEAR_SRC/test/build/lib.sh"
. "$NEAR_SRC/test/fuzz/lib.sh"
need_unconfigured_source

# faulty FILE SED: a copy of a source with a fault, as tree/src/FILE
faulty() {
	rm -rf tree
	mkdir tree && cp -r "$NEAR_SRC/src" tree/src && sed -i -E "$2" "tree/src/$1" && ! cmp -s "tree/src/$1" "$NEAR_SRC/src/$1"
}

# finds NAME WORDS COMMAND...: the command fails and says so
finds() {
	local name=$1 words=$2 out
	shift 2
	if out=$("$@" 2>&1); then
		not_ok "$name" "nothing was found"
	elif grep -qE "$words" <<<"$out"; then
		ok "$name"
	else
		not_ok "$name" "$(tail -n 5 <<<"$out")"
	fi
}

##
## Threads
##
tsan="clang -fsanitize=thread"
export TSAN_OPTIONS=die_after_fork=0:halt_on_error=1:suppressions=$NEAR_SRC/test/build/tsan.supp

# A locked table whose pushes take no lock.
racy() {
	faulty arch/generic/locked.c '/^bool near__locked_push/,/^}/ { /lock_acquire/,/return true;/d; /lock_release/d }' &&
		compile tsan "$PWD/tree/src" "$tsan" "$PWD/tree/src/arch/generic/locked.c" && linked tsan "$tsan"
}

if command -v clang >/dev/null; then
	check "sanitizers: builds for ThreadSanitizer" heap_fuzzer tsan "$tsan" "$tsan" "$fuzz/replay.c" &&
		for conf in rseq:off rseq:off,limit_hard:64M,decay_ms:1,percpu_cache:64K; do
			check "sanitizers: threads, $conf" fuzz_heap tsan $conf "$fuzz/corpus/heap"
		done
	check "control: builds without a lock" racy &&
		finds "control: ThreadSanitizer finds a missing lock" 'data race' fuzz_heap tsan rseq:off "$fuzz/corpus/heap"
else
	skip "sanitizers: threads" "clang is not installed"
fi

##
## Memory and arithmetic
##
units=$NEAR_BUILD/test/unit/unit-tests
if [ ! -x "$units" ]; then
	skip "sanitizers: units" "not built: no Criterion"
	exit 0
fi

# A table that is filled beyond its end.
overflowing() {
	faulty meta/classes.c 's/i < ARRAY_LEN\(near__class_slot\)/i <= ARRAY_LEN(near__class_slot)/' &&
		(cd asan && gcc $asan_flags $code -I"$OLDPWD/tree/src" -I"$NEAR_SRC/include" -c "$OLDPWD/tree/src/meta/classes.c" \
			-o src/meta/classes.o && ar r .libs/libnear_internal.a src/meta/classes.o &&
			rm test/unit/unit-tests && make -s test/unit/unit-tests)
}
export ASAN_OPTIONS=detect_leaks=0 # Criterion's
asan_flags="-g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer"
check "sanitizers: configures" configured asan --disable-shared CFLAGS="$asan_flags" CC=gcc \
	LIBS="$NEAR_STATIC_LIBS" &&
	check "sanitizers: builds for AddressSanitizer" built asan libnear_internal.la test/unit/unit-tests &&
	check "sanitizers: units, addresses and arithmetic" asan/test/unit/unit-tests
check "control: builds what overflows" overflowing &&
	finds "control: the sanitizers find it" 'buffer-overflow|out of bounds' asan/test/unit/unit-tests --filter 'classes/*'

##
## valgrind, which knows no rseq: the locked mode
##
suites="bits classes pagemap pool"
[ -z "${NEAR_TEST_LONG:-}" ] || suites+=" arena format magazine conf span chunk large lock"
memcheck=(valgrind -q --trace-children=yes --error-exitcode=9)

# Criterion tells of its tests; valgrind of what it found.
clean() {
	"${memcheck[@]}" "$units" --filter "$1/*" >said 2>&1 || { cat said; return 1; }
	! grep -E '^==[0-9]+== ' said
}

if command -v valgrind >/dev/null; then
	for suite in $suites; do
		check "sanitizers: valgrind, $suite" clean "$suite"
	done
	cat >uninitialised.c <<'EOC'
#include <stdlib.h>
int main(void)
{
	int *p = malloc(sizeof(*p));

	return *p > 3 ? 1 : 2;
}
EOC
	check "control: builds what reads too early" "$CC" -O0 -g uninitialised.c -o uninitialised &&
		finds "control: valgrind finds it" 'uninitialised' "${memcheck[@]}" ./uninitialised
else
	skip "sanitizers: valgrind" "not installed"
fi
