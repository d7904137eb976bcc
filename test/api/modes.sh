#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages: libcriterion-dev
# timeout: 300
#
# The interface tests again, in the modes that a program does not get by itself.
. "$NEAR_SRC/test/lib.sh"

tests=$NEAR_BUILD/test/api/api-tests
if [ ! -x "$tests" ]; then
	skip "interface tests in the other modes" "not built: no Criterion"
	exit 0
fi

check "the interface in locked mode" env NEARMALLOC_CONF=rseq:off "$tests"
check "the interface with self-registration" env GLIBC_TUNABLES=glibc.pthread.rseq=0 "$tests"
exit 0
