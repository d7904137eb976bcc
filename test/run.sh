#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
#
# Runs the tests and counts them.
#
#   test/run.sh -b BUILD-DIR [GROUP | GROUP/SCRIPT.sh]...      all groups when none is named
#
# A group is a folder of test/. Its Criterion program BUILD-DIR/test/GROUP/GROUP-tests runs first, then its
# scripts test/GROUP/*.sh (but lib.sh), each in an empty folder of its own (also its TMPDIR), with no stdin and a time limit.
# A script reports on stdout by lines
#
#   ok NAME | not ok NAME | skip NAME # REASON
#
# (test/lib.sh helps); everything else it prints is log, shown when it fails. It may declare in comments
#
#   # packages: a b c      what ./dev test is to install for it
#   # timeout: 300         its limit in seconds (default 120)
#
# and gets NEAR_SRC and NEAR_BUILD (absolute), NEAR_LIB and NEAR_STATIC (the libraries), NEAR_STATIC_LIBS (what the
# static one needs), CC and CXX. A script that ends
# otherwise than with status 0, is killed, or reports nothing counts as one failure.
#
# NEAR_TEST_ALL=1: what was ok is printed too, and not only counted. The last line is `N passed, N failed, N skipped`. Status 0: something ran and nothing failed.
set -u

usage() {
	echo "usage: ${0##*/} -b BUILD-DIR [GROUP | GROUP/SCRIPT.sh]..." >&2
	exit 2
}

NEAR_SRC=$(cd "$(dirname "$0")/.." && pwd)
NEAR_BUILD=
while getopts b: opt; do
	case $opt in
	b) NEAR_BUILD=$(cd "$OPTARG" && pwd) || exit 2 ;;
	*) usage ;;
	esac
done
shift $((OPTIND - 1))
[ -n "$NEAR_BUILD" ] || usage

NEAR_LIB=$NEAR_BUILD/.libs/libnearmalloc.so
NEAR_STATIC=$NEAR_BUILD/.libs/libnearmalloc.a
NEAR_STATIC_LIBS=$(sed -n 's/^Libs.private: //p' "$NEAR_BUILD/nearmalloc.pc" 2>/dev/null)
export NEAR_STATIC NEAR_STATIC_LIBS NEAR_SRC NEAR_BUILD NEAR_LIB CC="${CC:-gcc}" CXX="${CXX:-g++}" LC_ALL=C
unset LD_PRELOAD NEARMALLOC_CONF MAKEFLAGS MFLAGS MAKELEVEL
exec </dev/null
ulimit -c 0

passed=0 failed=0 skipped=0
scratch=$(mktemp -d "${TMPDIR:-/tmp}/nearmalloc-test.XXXXXX") || exit 2
chmod 755 "$scratch"
here=$scratch/here log=$scratch/log
running=
stop() {
	[ -z "$running" ] || end_session "$running"
	rm -rf "$scratch"
}
trap stop EXIT
trap 'exit 130' INT TERM HUP

# run_limited LIMIT COMMAND...: in an empty folder and a session of its own, so that nothing which it started
# outlives it. Sets status and took, writes the log.
run_limited() {
	local limit=$1 began=$EPOCHREALTIME ended
	shift
	rm -rf "$here"
	mkdir "$here"
	setsid env -C "$here" TMPDIR="$here" timeout --kill-after=5 "$limit" "$@" >"$log" 2>&1 &
	running=$!
	{ wait "$running"; } 2>/dev/null
	status=$?
	end_session "$running"
	running=
	ended=$EPOCHREALTIME
	took=$(((${ended/[.,]/} - ${began/[.,]/}) / 100000))
	took=$((took / 10)).$((took % 10))
}

# Ends the processes of a session, and those that left it but still carry its TMPDIR.
end_session() {
	local left
	left=$(ps -o pid= -s "$1")
	left+=" $(grep -lzFx "TMPDIR=$here" /proc/[0-9]*/environ 2>/dev/null | sed -n 's|^/proc/\([0-9]*\)/.*|\1|p' | tr '\n' ' ')"
	# shellcheck disable=SC2086
	kill -KILL $left 2>/dev/null
}

# Counts the report in the log and prints what is worth reading of it.
account() {
	local name=$1 good bad left verdict
	good=$(grep -c '^ok ' "$log")
	bad=$(grep -c '^not ok ' "$log")
	left=$(grep -c '^skip ' "$log")
	verdict=
	if [ "$status" -eq 124 ] || [ "$status" -eq 137 ]; then
		verdict="not ok $name: killed after $took s"
	elif [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then
		verdict="not ok $name: status $status"
	elif [ $((good + bad + left)) -eq 0 ]; then
		verdict="not ok $name: reported nothing"
	fi
	[ -z "$verdict" ] || bad=$((bad + 1))
	passed=$((passed + good))
	failed=$((failed + bad))
	skipped=$((skipped + left))
	printf '%-36s %4d passed %3d failed %3d skipped %7s s\n' "$name" "$good" "$bad" "$left" "$took"
	if [ "$bad" -gt 0 ]; then
		grep -v '^ok ' "$log" | sed 's/^/    /'
		[ -z "$verdict" ] || printf '    %s\n' "$verdict"
	else
		grep -E "^skip ${NEAR_TEST_ALL:+|^ok }" "$log" | sed 's/^/    /'
	fi
}

run_script() {
	local script=$1 name=$2 limit
	limit=$(sed -n 's/^# timeout: *\([0-9][0-9]*\).*/\1/p' "$script" | head -n 1)
	run_limited "${limit:-120}" bash "$script"
	account "$name"
}

# Criterion's TAP says `ok - suite::test  (0.00s)`, and `# SKIP` behind a skipped one.
run_criterion() {
	local program=$1 name=$2
	run_limited 300 "$program" --tap="$here/tap"
	sed -i 's/^/| /' "$log"
	sed -n -E -e 's/^(not ok|ok) - (.*)# SKIP(.*)$/skip \2#\3/p; t' -e 's/^(not ok|ok) - /\1 /p' \
		"$here/tap" >>"$log" 2>/dev/null
	account "$name"
}

run_group() {
	local group=$1 script program=$NEAR_BUILD/test/$1/$1-tests
	if [ -x "$program" ]; then
		run_criterion "$program" "$group-tests"
	elif ls "$NEAR_SRC/test/$group/"*.c >/dev/null 2>&1 && grep -q "^check_PROGRAMS.*$group-tests" "$NEAR_SRC/Makefile.am"; then
		echo "$group: not built: configure found no Criterion (Debian: apt-get install libcriterion-dev)"
		skipped=$((skipped + 1))
	fi
	for script in "$NEAR_SRC/test/$group/"*.sh; do
		[[ ! -e $script || $script == */lib.sh ]] || run_script "$script" "$group/${script##*/}"
	done
}

# Quick ones first; test/common is what they share.
all_groups() {
	local group order="unit api misuse build bench env stress programs"
	for group in $order; do
		[ ! -d "$NEAR_SRC/test/$group" ] || echo "$group"
	done
	for group in "$NEAR_SRC"/test/*/; do
		group=$(basename "$group")
		[[ " $order common " == *" $group "* ]] || echo "$group"
	done
}

[ $# -gt 0 ] || mapfile -t all < <(all_groups)
for what in "${@:-${all[@]}}"; do
	if [ -d "$NEAR_SRC/test/$what" ]; then
		run_group "$what"
	elif [ -f "$NEAR_SRC/test/$what" ]; then
		run_script "$NEAR_SRC/test/$what" "$what"
	else
		echo "no such group or script: test/$what" >&2
		failed=$((failed + 1))
	fi
done

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ $passed -gt 0 ]
