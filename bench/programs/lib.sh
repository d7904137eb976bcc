# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
#
# What the real programs of the bench share. Each is a script that measures
# one row per run:
#
#     NAME --rows [--quick]      prints its rows, one line of arguments each
#     NAME key=value ...         measures that row and prints lines `metric value better`, better being
#                                lower, higher or none
#
# The first metric is the one that ratios are made of. $NEAR_PRELOAD is the
# library of the allocator, empty for glibc; only what is measured gets it.
#
# Metrics: seconds (elapsed) or rate (per second); user and sys, in seconds;
# peak_rss and end_rss in KiB; minor_faults. Those of servers tell of the time
# between begin and end, but the faults and the peak of their whole life.
#
# A script sources this file, declares its parameters in the array `p` and its
# rows in `rows` and `quick_rows`, defines run, and ends with: main "$@"
# shellcheck shell=bash

[[ ${BASH_SOURCE[0]} != "$0" ]] || exit 0	# a library, not a program

set -u
umask 022
unset LD_PRELOAD
export LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin

here=$(cd "${BASH_SOURCE[0]%/*}" && pwd) || exit 2
program=${0##*/}
declare -A p=()

# fail MESSAGE: the last line; before it the end of the log, if there is one.
fail() {
	[[ ! ${log:-} || ! -s $log ]] || tail -n 15 "$log" >&2
	echo "$program: $*" >&2
	exit 1
}

# need COMMAND...: or it says which packages to install.
need() {
	local tool

	for tool; do
		type -P "$tool" >/dev/null || fail "no $tool (Debian packages: $(sed -n 's/^# packages: //p' "$0"))"
	done
}

report() {
	printf '%s %s %s\n' "$@"
}

# --- the command line ------------------------------------------------------

main() {
	local arg

	case ${1-} in
	--rows)
		[[ ${2-} != --quick ]] || rows=("${quick_rows[@]}")
		printf '%s\n' "${rows[@]}"
		return
		;;
	'') fail "which row? (--rows tells them)" ;;
	esac
	for arg; do
		[[ $arg = *=* && -v p[${arg%%=*}] ]] || fail "no such parameter: $arg (there are: ${!p[*]})"
		p[${arg%%=*}]=${arg#*=}
	done
	near=${NEAR_PRELOAD:-}
	[[ ! $near ]] || near=$(realpath -e -- "$near" 2>/dev/null) || fail "no such library: $NEAR_PRELOAD"
	. "$here/../../test/processes.sh"
	log=$tmp/log
	conf=${NEARMALLOC_CONF:-}
	unset NEARMALLOC_CONF
	cd "$tmp" || exit 2
	run
}

# --- a program that ends ---------------------------------------------------

# measure COMMAND...: runs it under the library, its output in $tmp/out. The
# greatest RSS is that of time's child, whose own beginning is time itself, or
# of the child's children.
measure() {
	local TIMEFORMAT='%R %U %S' times rss faults

	need time setpriv
	near_env
	times=$({ time {
		setpriv --pdeathsig KILL /usr/bin/time -q -f '%M %R' -o rusage \
			setpriv --pdeathsig KILL "${environment[@]}" "$@" >out 2>"$log" <"${input:-/dev/null}" &
		wait $! || echo $? >status
	}; } 2>&1) || exit
	[[ ! -e status ]] || fail "status $(<status) of: $*"
	! grep -qF 'cannot be preloaded' "$log" || fail "the library cannot be preloaded: $near"
	read -r rss faults <rusage
	# shellcheck disable=SC2086
	set -- $times
	report seconds "$1" lower
	report user "$2" lower
	report sys "$3" lower
	report peak_rss "$rss" lower
	report minor_faults "$faults" lower
}

# --- servers ---------------------------------------------------------------

# begin PID...: the processes that are measured from now on; all of them have
# the library, which glibc needs not.
begin() {
	pids=("$@")
	[[ ! $near ]] || uses "$@" >>"$log" || fail "not under $near"
	read -r began_user began_sys _ < <(spent)
	began=$EPOCHREALTIME
}

# User and system time in ticks, and minor faults, of the processes and of
# the children that they waited for.
spent() {
	local pid

	for pid in "${pids[@]}"; do
		sed 's/.*) //' "/proc/$pid/stat"
	done 2>>"$log" | awk '{ user += $12 + $14; sys += $13 + $15; faults += $8 + $9 } END { print user, sys, faults }'
}

# Elapsed since begin.
elapsed() {
	awk -v from="$began" -v to="$EPOCHREALTIME" 'BEGIN { print to - from }'
}

# memory FIELD: KiB, of all the processes together; what they share is
# counted in each.
memory() {
	local pid

	for pid in "${pids[@]}"; do
		cat "/proc/$pid/status"
	done | awk -v field="$1:" '$1 == field { sum += $2 } END { print sum }'
}

# end: reports what the processes have spent since begin, and their memory.
end() {
	local user sys faults tick

	kill -0 "${pids[@]}" 2>>"$log" || fail "the server died"
	read -r user sys faults < <(spent)
	tick=$(getconf CLK_TCK)
	report user "$(awk "BEGIN { print ($user - $began_user) / $tick }")" lower
	report sys "$(awk "BEGIN { print ($sys - $began_sys) / $tick }")" lower
	report peak_rss "$(memory VmHWM)" lower
	report end_rss "$(memory VmRSS)" lower
	report minor_faults "$faults" lower
}
