# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
#
# What the checks of real programs share: results, the two modes, programs and
# servers under the library, and the proof that it is really in use there.
#
# A check sources this file, defines one function that runs everything once,
# and hands it to each_mode. In there: $mode is "rseq" or "locked", $dir an
# empty directory for this mode. Whatever a program says on stderr goes to
# $dir/*.log or to the check's own log, where quiet looks for complaints of
# the library. NEAR_KEEP=1 keeps the directories.

[[ ${BASH_SOURCE[0]} != "$0" ]] || exit 0	# a library, not a check

set -u
umask 022
unset LD_PRELOAD NEARMALLOC_CONF
export LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin

near=$(realpath -e -- "${NEAR_LIB:?must be the absolute path of the library}") || exit 2
program=$(basename "$0" .sh)
. "${BASH_SOURCE[0]%/*}/../processes.sh"

mode=glibc dir=$tmp
failed=0

# --- results ---------------------------------------------------------------

ok() {
	echo "ok $program/$mode/$1"
}

not_ok() {
	echo "not ok $program/$mode/$1"
	failed=1
}

skip() {
	local name=$1; shift
	echo "skip $program/$mode/$name # $*"
}

# The end of each log of this mode, the check's own first.
show_logs() {
	local log

	for log in "$@" "$dir"/*.log; do
		[[ -s $log ]] || continue
		echo "  --- ${log#"$tmp"/}"
		tail -n 30 "$log" | cut -c1-300 | sed 's/^/  /'
	done
}

# check NAME COMMAND...: ok if the command (or function) returns 0.
check() {
	local name=$1 log=$dir/$1.check

	shift
	if "$@" >"$log" 2>&1; then
		ok "$name"
	else
		not_ok "$name"
		show_logs "$log"
		return 1
	fi
}

# --- modes -----------------------------------------------------------------

# The mode that the library's report names: "rseq" or "locked"; nothing if the
# library is another allocator.
reported_mode() {
	NEARMALLOC_CONF="${conf:+$conf,}stats_print:true" LD_PRELOAD=$near \
		/usr/bin/env true 2>&1 | sed -n 's/^ *mode  *\([a-z]*\).*/\1/p'
}

# each_mode FUNCTION: runs it in both modes, then ends the script.
each_mode() {
	local is

	for mode in rseq locked; do
		conf=''
		[[ $mode = locked ]] && conf=rseq:off
		dir=$tmp/$mode
		mkdir "$dir"
		is=$(reported_mode)
		if [[ $mode = rseq && $is = locked ]]; then
			skip all "no restartable sequences here, the library is in locked mode"
			continue
		elif [[ $mode = locked && $is = rseq ]]; then
			not_ok "mode (asked for locked, got rseq)"
		fi
		cd "$dir" || exit 2
		"$1"
		check quiet quiet "$dir"
		cd "$tmp" || exit 2
	done
	exit "$failed"
}

# need COMMAND...: without them both modes are skipped.
need() {
	local tool packages

	for tool in "$@"; do
		command -v "$tool" >/dev/null && continue
		packages=$(sed -n 's/^# packages: //p' "$0")
		for mode in rseq locked; do
			skip all "no $tool (Debian packages: $packages)"
		done
		exit 0
	done
}

# --- proofs ----------------------------------------------------------------

# seen JOB COMM: waits until a process called COMM that works below $dir has
# the library mapped; fails once the job is over.
seen() {
	local pid

	while kill -0 "$1" 2>/dev/null; do
		for pid in $(find /proc -maxdepth 2 -name cwd -lname "$dir*" 2>/dev/null | cut -d/ -f3); do
			[[ $(cat "/proc/$pid/comm" 2>/dev/null) = "$2" ]] || continue
			in_use "$pid" 2>/dev/null && return 0
		done
		sleep 0.05
	done
	echo "no $2 with the library was seen"
	return 1
}

# binds COMMAND...: the loader binds the command's allocator names to the
# library, and none to another one. (A name bound to the program itself is a
# stub in a program that takes the function's address; it leads to the library.)
binds() {
	local names='(malloc|calloc|realloc|free|reallocarray|memalign|aligned_alloc|posix_memalign|valloc|pvalloc|malloc_usable_size)'
	local trace=$dir/binds.$BASHPID

	near env LD_DEBUG=bindings LD_BIND_NOW=1 LD_DEBUG_OUTPUT="$trace" "$@" >/dev/null || return 1
	if ! grep -qF "to $near [0]: normal symbol \`malloc'" "$trace".*; then
		echo "malloc is not bound to $near"
		return 1
	fi
	! grep -hE "to [^ ]*\.so[^ ]* \[0\]: normal symbol \`$names'" "$trace".* |
		grep -vF -e "to $near " -e "binding file $near "
}

# quiet DIR: the library said nothing in any log there.
quiet() {
	! grep -rn --include='*.log' --include='*.check' --exclude=quiet.check '^nearmalloc:' "$1"
}
