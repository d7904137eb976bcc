# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
#
# Runs test programs under the preloaded library in each of its modes. To be sourced after test/lib.sh.
#   NEAR_TEST_MODES   modes to use (default: rseq locked selfreg)
#   NEAR_TEST_BIN     where the built programs are
# shellcheck shell=bash disable=SC2034

BIN=${NEAR_TEST_BIN:-$NEAR_BUILD/test/bin}
AT_END=$BIN/at_end.so
mode=rseq

# each_mode FUNCTION...: the function finds the mode's name in $mode.
each_mode() {
	for mode in ${NEAR_TEST_MODES:-rseq locked selfreg}; do
		"$@"
	done
}

# The environment of the mode, with further NEARMALLOC_CONF keys if given.
mode_env() {
	local conf=${1:-}
	case $mode in
	rseq) echo "NEARMALLOC_CONF=$conf" ;;
	locked) echo "NEARMALLOC_CONF=rseq:off${conf:+,$conf}" ;;
	selfreg) echo "NEARMALLOC_CONF=$conf GLIBC_TUNABLES=glibc.pthread.rseq=0" ;;
	esac
}

# preloaded SECONDS COMMAND...: the command under the library, killed with all its children at the limit. At the end of each
# program near_check looks whether all is well, and it fails if not; with AT_END= it does not.
preloaded() {
	local limit=$1
	shift
	# shellcheck disable=SC2046
	timeout -s KILL "$limit" env $(mode_env "${CONF:-}") LD_PRELOAD="$NEAR_LIB${AT_END:+ $AT_END}" "$@"
}

# The end of what a run printed, without the shell's own remark about a killed command.
last_words() {
	grep -v 'common/lib.sh: line' "$1" | tail -n 5
}

# judge NAME STATUS FILE: reports by the exit status of a run and its output.
judge() {
	local name="$1 ($mode)" status=$2 out=$3
	case $status in
	0) ok "$name" ;;
	77) skip "$name" "$(last_words "$out" | tail -n 1)" ;;
	137) not_ok "$name" "killed: it hung, or took too long" "$(last_words "$out")" ;;
	*) not_ok "$name" "status $status" "$(last_words "$out")" ;;
	esac
}

# try NAME SECONDS COMMAND...: one line of the report.
try() {
	local name=$1 limit=$2 out status
	shift 2
	out=$(mktemp)
	preloaded "$limit" "$@" >"$out" 2>&1 </dev/null
	status=$?
	judge "$name" "$status" "$out"
	rm -f "$out"
}
