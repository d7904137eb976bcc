# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
#
# What the scripts share that run inside a machine of the laboratory, under busybox's sh. To be sourced:
#   . "${0%/*}/lib.sh"
# shellcheck shell=dash disable=SC2034

LC_ALL=C
export LC_ALL
log=${TMPDIR:-/tmp}/lab.$$.log
trap 'rm -f "$log"' EXIT

long() {
	[ "$LAB_FORM" = long ]
}

# report NAME STATUS [LINE]: by the exit status of a run whose output is in the log.
report() {
	case $2 in
	0) echo "ok $1" ;;
	77) echo "skip $1 # $(tail -n 1 "$log")" ;;
	*)
		echo "not ok $1"
		echo "  status $2$([ "$2" -ne 137 ] || echo ': killed, or it took too long'); it said:"
		{ grep '^wrong: ' "$log" | head -n 20 && grep -v '^wrong: ' "$log" | tail -n 20; } | sed 's/^/  /'
		;;
	esac
}

# try NAME SECONDS COMMAND...: one line of the report; what it printed is shown when it fails.
try() {
	name=$1 limit=$2
	shift 2
	timeout -s KILL "$limit" "$@" >"$log" 2>&1
	report "$name" $?
}

# What a command is run by to have the library; options of its own may follow as NEARMALLOC_CONF=...
near="env LD_PRELOAD=$NEAR_LIB"

# said NAME PATTERN: the last run printed a line that matches.
said() {
	if grep -qE -- "$2" "$log"; then
		echo "ok $1"
	else
		echo "not ok $1"
		echo "  no line matches $2 in:"
		tail -n 40 "$log" | sed 's/^/  /'
	fi
}
