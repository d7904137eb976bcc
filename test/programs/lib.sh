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
tmp=$(mktemp -d "${TMPDIR:-/tmp}/near-$program.XXXXXX") || exit 2
tmp=$(realpath "$tmp")
chmod 755 "$tmp"

mode=glibc conf='' dir=$tmp
limit=120		# seconds for one program
failed=0
servers=()

finish() {
	local status=$? pid

	trap - EXIT
	for pid in "${servers[@]}" $(jobs -pr); do
		stop "$pid"
	done >/dev/null 2>&1
	if [[ ${NEAR_KEEP:-} ]]; then
		echo "kept $tmp" >&2
	else
		rm -rf "$tmp"
	fi
	exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM HUP

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

# --- running ---------------------------------------------------------------

# The environment of a program under the library, as words for env(1).
near_env() {
	environment=(env LD_PRELOAD="$near")
	[[ $conf ]] && environment+=(NEARMALLOC_CONF="$conf")
	return 0
}

# Starts a command under the library, bounded in time; its pid is in $!.
launch() {
	near_env
	timeout -k 5 "$limit" "${environment[@]}" "$@" <&0 &
}

# As launch, and waits. (In the background, for bash runs no trap meanwhile.)
near() {
	launch "$@"
	wait $!
}

# As near, without the library.
plain() {
	timeout -k 5 "$limit" "$@" <&0 &
	wait $!
}

# serve LOG COMMAND...: a server under the library, its pid in $server.
serve() {
	local log=$1; shift

	near_env
	"${environment[@]}" setpriv --pdeathsig KILL "$@" >>"$log" 2>&1 </dev/null &
	server=$!
	servers+=("$server")
}

# stop PID [SIGNAL]: ends a server, returns its status; 20 seconds for it.
stop() {
	local tries=200

	kill "-${2:-TERM}" "$1"
	while kill -0 "$1" && ((tries-- > 0)); do
		sleep 0.1
	done 2>/dev/null
	((tries > 0)) || { echo "$1 does not stop"; kill -KILL "$1"; }
	reap "$1"
}

# reap PID: the status of a server that ends by itself.
reap() {
	local other left=()

	for other in "${servers[@]}"; do
		[[ $other = "$1" ]] || left+=("$other")
	done
	servers=("${left[@]}")
	wait "$1"
}

# await SECONDS COMMAND...: repeats a command until it succeeds.
await() {
	local end=$((SECONDS + $1)); shift

	until "$@"; do
		((SECONDS < end)) || { echo "gave up waiting for: $*"; return 1; }
		sleep 0.1
	done >/dev/null 2>&1
}

# free_port FIRST: a loopback port on which nobody listens, FIRST or above.
free_port() {
	local port=$1

	while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
		((port++))
	done
	echo "$port"
}

# --- proofs ----------------------------------------------------------------

# The library is mapped in the process.
in_use() {
	grep -qF " $near" "/proc/$1/maps"
}

# uses PID...: all of them have it, or it says who has not.
uses() {
	local pid

	(($# > 0)) || { echo "no process to look at"; return 1; }
	for pid; do
		in_use "$pid" && continue
		echo "$pid ($(tr '\0' ' ' <"/proc/$pid/cmdline")): library not mapped"
		return 1
	done
}

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
