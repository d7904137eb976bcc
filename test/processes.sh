# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
#
# Programs and servers under an allocator's library: started in a folder of
# their own, waited for, looked at, ended with the script that sources this.
#
# It first sets $program (its name) and $near (the library's real path; empty:
# none), and gets $tmp, the folder. $conf, when not empty, is the library's
# configuration.
# shellcheck shell=bash

tmp=$(mktemp -d "${TMPDIR:-/tmp}/near-$program.XXXXXX") || exit 2
tmp=$(realpath "$tmp")
chmod 755 "$tmp"

conf=''
limit=120		# seconds for one program
servers=()

# All are told at once, for a server may wait for its clients.
finish() {
	local status=$? pid jobs

	trap - EXIT
	jobs=$(jobs -pr)
	for pid in $jobs; do
		kill "$pid"
	done 2>/dev/null
	for pid in $jobs; do
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

# --- running ---------------------------------------------------------------

# The environment of a program under the library, as words for env(1).
near_env() {
	environment=(env)
	[[ $near ]] && environment+=(LD_PRELOAD="$near")
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
	setpriv --pdeathsig KILL "${environment[@]}" "$@" >>"$log" 2>&1 </dev/null &
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

# As root: $as_user are the words that make a command another user's, and the
# library is one that this user can read.
as_unprivileged() {
	as_user=()
	((EUID == 0)) || return 0
	user=$(id -un "$1" 2>/dev/null || echo nobody)
	as_user=(setpriv --pdeathsig KILL --reuid="$user" --regid="$(id -g "$user")" --clear-groups)
	[[ $near ]] || return 0
	mkdir "$tmp/lib" && cp "$near" "$tmp/lib/" && near=$tmp/lib/${near##*/}
}

# --- proofs ----------------------------------------------------------------

# The library is mapped in the process.
in_use() {
	grep -qF " $near" "/proc/$1/maps"
}

# uses PID...: all of them have it, or it says who has not. One that has ended
# meanwhile, as servers' children do, does not count.
uses() {
	local pid command seen=0

	for pid; do
		in_use "$pid" 2>/dev/null && ((++seen)) && continue
		command=$(tr '\0' ' ' <"/proc/$pid/cmdline")
		[[ $command ]] || continue
		echo "$pid ($command): library not mapped"
		return 1
	done 2>/dev/null
	((seen > 0)) || { echo "no process to look at"; return 1; }
}
