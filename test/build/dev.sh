#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
#
# ./dev says what it can do, and without root names the packages that it cannot install.
. "$NEAR_SRC/test/lib.sh"

for verb in setup demo run test bench lab fuzz soak model trace inject lib clean; do
	check "dev: $verb is explained" grep -qE "^\./dev $verb .*  [A-Za-z]" <("$NEAR_SRC/dev")
done
check "dev: an unknown verb is refused" [ "$("$NEAR_SRC/dev" nonsense >/dev/null 2>&1; echo $?)" = 2 ]

# A machine without root and without packages, and one with everything.
mkdir bare full
printf '#!/bin/sh\nexit 1\n' >bare/dpkg-query
printf '#!/bin/sh\necho 1000\n' >bare/id
printf '#!/bin/sh\ntouch called\n' >bare/apt-get
printf '#!/bin/sh\necho "installed "\n' >full/dpkg-query
cp bare/apt-get full/
chmod +x bare/* full/*
out=$(PATH=$PWD/bare:$PATH "$NEAR_SRC/dev" setup 2>&1 >stdout)
check "dev: without root the status is 1" [ $? = 1 ]
check "dev: without root the packages are named" grep -q 'libnuma-dev.*liburcu-dev' <<<"$out"
check "dev: without root stdout is empty and apt not called" [ ! -s stdout -a ! -e called ]
check "dev: with nothing to do nothing is said" [ -z "$(PATH=$PWD/full:$PATH "$NEAR_SRC/dev" setup 2>&1)" ]
check "dev: with nothing to do apt is not called" [ ! -e called ]
