#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages: liburcu-dev libnuma-dev libjemalloc-dev
# timeout: 600
#
# Children that live, and others in the same process: liburcu and libnuma used by the program, jemalloc inside it, two
# copies of ours.
. "$NEAR_SRC/test/lib.sh"
. "$NEAR_SRC/test/common/lib.sh"
. "$NEAR_SRC/test/common/broken.sh"

export NEAR_TEST_SCALE=${NEAR_TEST_SCALE:-0.4}
flags="-std=gnu11 -g -O1 -D_GNU_SOURCE -fno-builtin -pthread -Wall -Wextra -I$NEAR_SRC/include -I$NEAR_SRC/test/common"
others=$NEAR_SRC/test/env/beside

family() {
	try "family: storm" 150 "$BIN/family" storm
	try "family: child of a child" 100 "$BIN/family" child_of_child
}
each_mode family

# made NAME COMMAND...: or skipped, where what it needs is not installed.
made() {
	local name=$1
	shift
	"$@" >said 2>&1 || skip "beside: $name" "$(grep -m 1 -E 'error|cannot find' said)"
}

# shellcheck disable=SC2086
made "liburcu and libnuma" $CC $flags "$others/urcu.c" -o urcu -lurcu-bp -lurcu-memb -lnuma
urcu() {
	try "beside: liburcu and libnuma, used by the program" 150 ./urcu
	CONF=numa:on,extent_cache:0,decay_ms:20 try "the same, where nothing is kept" 150 ./urcu
}
[ ! -x urcu ] || each_mode urcu
mode=rseq

# shellcheck disable=SC2086
made "jemalloc" $CC $flags "$others/jemalloc.c" -o jemalloc -l:libjemalloc.a -lm -ldl -lstdc++
[ ! -x jemalloc ] || try "beside: jemalloc, linked statically" 100 ./jemalloc

# Under another name, or the loader would take it for the first.
second() {
	# shellcheck disable=SC2046,SC2086
	$CC -shared -pthread "-Wl,--version-script=$NEAR_SRC/src/abi/nearmalloc.map" -Wl,-Bsymbolic-functions -Wl,-z,nodelete \
		-Wl,-soname,libsecond.so $(find "$NEAR_BUILD/src" -path '*/.libs/*.o') $NEAR_STATIC_LIBS -o libsecond.so &&
		$CC $flags "$NEAR_SRC/test/env/family.c" -o two -Wl,--no-as-needed -L. -lsecond -Wl,-rpath,"$PWD"
}
check "beside: a second copy is built" second && {
	two() {
		try "beside: a second copy, linked; storm" 150 ./two storm
		try "beside: a second copy, linked; child of a child" 100 ./two child_of_child
	}
	each_mode two
	mode=rseq
	NEAR_LIB=$PWD/libsecond.so try "beside: the same copy, linked and preloaded" 150 ./two storm
}

# dies NAME FILE SED: children of such a library hang or fail.
dies() {
	if ! broken_library "$PWD/broken.so" "$2" "$3" >said 2>&1; then
		not_ok "control: $1" "not built, or the edit applies to nothing" "$(cat said)"
	elif NEAR_CHILD_SECONDS=4 NEAR_TEST_SCALE=5 LD_PRELOAD=$PWD/broken.so timeout -s KILL 60 "$BIN/family" storm >said 2>&1; then
		not_ok "control: $1 is not noticed"
	else
		ok "control: $1: $(tail -n 1 said)"
	fi
}
dies "locks stay as dead threads left them" malloc/init.c '/^\tnear__heap_after_fork\(\);/d'
