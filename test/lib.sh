# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
#
# What test scripts share: reporting, in the form that test/run.sh counts. To be sourced:
#   . "$NEAR_SRC/test/lib.sh"
# shellcheck shell=bash

ok() {
	echo "ok $*"
}

# not_ok NAME [LINE]...: what was wrong stands indented below.
not_ok() {
	echo "not ok $1"
	shift
	[ $# -eq 0 ] || printf '  %s\n' "$@"
}

# skip NAME REASON
skip() {
	echo "skip $1 # $2"
}

# check NAME COMMAND...: ok when the command succeeds; what it printed is shown when it does not.
check() {
	local name=$1 out
	shift
	if out=$("$@" 2>&1); then
		ok "$name"
	else
		not_ok "$name" "status $? of: $*"
		printf '%s\n' "$out" | tail -n 60 | sed 's/^/  /'
		return 1
	fi
}

# expect_nothing NAME TEXT: ok when the text, a list of findings, is empty.
expect_nothing() {
	if [ -z "$2" ]; then
		ok "$1"
	else
		not_ok "$1"
		printf '%s\n' "$2" | sed 's/^/  /'
	fi
}

# have COMMAND... or leave the whole script as skipped
need_commands() {
	local c
	for c; do
		command -v "$c" >/dev/null || {
			skip "$(basename "$0" .sh)" "$c is not installed"
			exit 0
		}
	done
}
