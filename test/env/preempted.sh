#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages: util-linux
#
# rseq:on tests at the start whether the kernel restarts sections that it preempts, and the report says what came out.
. "$NEAR_SRC/test/lib.sh"
. "$NEAR_SRC/test/common/lib.sh"
. "$NEAR_SRC/test/common/variant.sh"

# told LIBRARY CONF COMMAND...: what is said on stderr
told() {
	local library=$1 CONF=$2
	shift 2
	# shellcheck disable=SC2046,SC2069
	timeout 30 env $(mode_env "$CONF") LD_PRELOAD="$library" "$@" 2>&1 >/dev/null
}

if told "$NEAR_LIB" stats_print:true true | grep -q 'mode *locked'; then
	skip "preempted sections" "no restartable sequences here: $(told "$NEAR_LIB" stats_print:true true | grep mode)"
	exit 0
fi

restarts="mode *rseq (rseq and membarrier answer, and sections restart when they are preempted)"
# shellcheck disable=SC2317 # by each_mode
tested() {
	local said
	# A busy machine may not run the child often enough in half a second.
	for _ in 1 2 3; do
		said=$(told "$NEAR_LIB" stats_print:true,rseq:on true)
		! grep -q "$restarts" <<<"$said" || break
	done
	check "preempted sections restart ($mode)" grep -q "$restarts" <<<"$said"
	check "no test by default ($mode)" grep -q "(rseq and membarrier answer)" <<<"$(told "$NEAR_LIB" stats_print:true true)"
	check "the test leaves all CPUs to the program ($mode)" [ "$(taskset -cp $$)" = \
		"$(NEARMALLOC_CONF=rseq:on LD_PRELOAD=$NEAR_LIB taskset -cp $$)" ]
	check "the test without a child comes to no result ($mode)" grep -q '(rseq and membarrier answer)' \
		<<<"$(told "$NEAR_LIB" stats_print:true,rseq:on "$BIN/filtered" clone EPERM true)"
}
NEAR_TEST_MODES="rseq selfreg" each_mode tested

# A made up kernel that never restarts a section: it does not know of the area that the test uses.
mode=rseq
if library_edited blind.so os/rseq.c 's/^enum \{ TRIALS/static __thread struct area unknown;\n&/
	s/section_watch\(near__rseq_offset/section_watch((ptrdiff_t)((uintptr_t)\&unknown - thread_pointer())/'; then
	said=$(told "$PWD/blind.so" stats_print:true,rseq:on true)
	check "control: a kernel that does not restart sections is noticed, locks are used" \
		grep -q 'mode *locked (the kernel does not restart sections that it preempts)' <<<"$said"
	check "control: and a warning says so" grep -q \
		'^nearmalloc: rseq:on, but the kernel does not restart sections that it preempts; using locks' <<<"$said"
else
	not_ok "control: a kernel that does not restart sections is noticed" "does not build"
fi
