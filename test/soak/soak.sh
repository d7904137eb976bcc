#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages: python3
# timeout: 300
#
# ./dev soak in its shortest form; and that it notices what it is there for.
. "$NEAR_SRC/test/lib.sh"
need_commands python3

soak=$NEAR_SRC/test/soak/soak
broken=$NEAR_BUILD/test/bin/broken.so
[ -e "$broken" ] || broken=$NEAR_BUILD/test/bin/.libs/broken.so

# fails NAME WORDS COMMAND...: with status 1, and says so.
fails() {
	local name=$1 words=$2 status
	shift 2
	"$@" >said 2>&1
	status=$?
	if [ $status -eq 1 ] && grep -q -- "$words" said; then
		ok "$name"
	else
		not_ok "$name" "status $status" "$(tail -n 5 said)"
	fi
}

check "soak: 10 s" "$soak" 10s

fails "control: a leak is noticed by its slope" "its memory grows" \
	env BROKEN=leak "$soak" --library "$broken" --only "heap, all the time" 8s
fails "control: damaged contents are noticed" "status -6" \
	env BROKEN=scribble "$soak" --library "$broken" --only "heap threads=4 seconds=1 checks" 2s

# What is charged to CPUs is not settled: nothing but near_check would tell.
cat >replacement.c <<'END'
struct charge;
void __wrap_near__charge_settle(const struct charge *charge);
void __wrap_near__charge_settle(const struct charge *charge) { (void)charge; }
END
$CC -O2 -fPIC -fvisibility=hidden -c replacement.c &&
	$CC -shared -pthread "-Wl,--version-script=$NEAR_SRC/src/abi/nearmalloc.map" -Wl,-Bsymbolic-functions \
		-Wl,-z,nodelete -Wl,--wrap=near__charge_settle replacement.o \
		$(find "$NEAR_BUILD/src" -path '*/.libs/*.o') $NEAR_STATIC_LIBS -o unsettled.so
fails "control: a violation at the end of a program is noticed" "is charged for" \
	"$soak" --library "$PWD/unsettled.so" --only resize 2s
fails "control: what near_check has not looked at does not count as passed" "near_check has not looked" \
	env BROKEN=none "$soak" --library "$broken" --only "heap threads=1" 2s
exit 0
