#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages: gcc g++ libc6-dev lua5.4 memcached libmemcached-tools nginx wrk nodejs perl postgresql-15 python3 redis-server redis-tools sqlite3 time util-linux procps
# timeout: 150
#
# The real programs of the bench: each tells its rows, runs its first quick
# one under the library, and reports figures that can be true; what it
# measures is preloaded and nothing else; nothing is left behind.

. "$NEAR_SRC/test/lib.sh"

programs=$NEAR_SRC/bench/programs
need_commands "$CC"

# Writes down who loads it.
witness() {
	cat >witness.c <<-'C'
	#define _GNU_SOURCE
	#include <errno.h>
	#include <fcntl.h>
	#include <stdio.h>
	#include <unistd.h>
	__attribute__((constructor)) static void tell(void)
	{
		int fd = open(SEEN, O_WRONLY | O_APPEND | O_CLOEXEC);

		if (fd >= 0) {
			dprintf(fd, "%s\n", program_invocation_short_name);
			close(fd);
		}
	}
	C
	"$CC" -shared -fPIC -DSEEN="\"$PWD/seen\"" -o witness.so witness.c
	chmod 755 .
	touch seen
	chmod 666 seen
}

tells_rows() {
	[[ $("$programs/$1" --rows) && $("$programs/$1" --rows --quick) ]] &&
		! "$programs/$1" --rows | grep -vE '^[a-z]+=[^ =]+( [a-z]+=[^ =]+)*$'
}

quick_row() {
	local row

	row=$("$programs/$1" --rows --quick | head -n 1)
	echo "$row"
	# shellcheck disable=SC2086
	NEAR_PRELOAD=$2 "$programs/$1" $row
}

# Nothing on stderr, lines of the right form, a time or a rate first, and no
# figure missing or beyond belief.
sane() {
	quick_row "$1" "$NEAR_LIB" >figures 2>errors || { cat figures errors; return 1; }
	cat figures errors
	[[ ! -s errors ]] && sed 1d figures | awk '
	!/^[a-z_]+ [0-9.]+(e[+-]?[0-9]+)? (lower|higher|none)$/ { exit bad = 1 }
	NR == 1 && $1 " " $3 != "seconds lower" && $1 " " $3 != "rate higher" { exit bad = 1 }
	{ value[$1] = $2 }
	END {
		exit bad || (value["rate"] < 5 && (value["seconds"] < 0.02 || value["seconds"] > 60)) ||
			value["user"] + value["sys"] < 0.01 || value["user"] + value["sys"] > 60 ||
			value["peak_rss"] < 2000 || value["peak_rss"] > 1e6 || value["minor_faults"] < 200
	}'
}

# The server, or the compiler proper, is there; clients and tools are not.
preloads() {
	local measured=$1

	case $1 in
	redis) measured=redis-server ;;
	gcc) measured=cc1 ;;
	lua) measured=lua5.4 ;;
	esac
	: >seen
	quick_row "$1" "$PWD/witness.so" >figures || return 1
	sort seen | uniq -c
	grep -qx "$measured" seen &&
		! grep -xE 'bash|sh|awk|sed|cat|grep|timeout|time|env|redis-cli|redis-benchmark|initdb|psql|pgbench|memcaslap|wrk' seen
}

# refuses WHAT COMMAND...: it fails, reports nothing, and its last line says why.
refuses() {
	local what=$1; shift

	! "$@" >out 2>errors && cat errors && [[ ! -s out ]] && tail -n 1 errors | grep -q "^[a-z]*: .*$what"
}

# Ends at once, and so does its server, when it is told so.
interrupted() {
	local job server

	env NEAR_PRELOAD="$NEAR_LIB" "$programs/redis" work=load requests=10000000 >out 2>errors &
	job=$!
	for _ in {1..100}; do
		server=$(pgrep -P "$job" redis-server) && [[ $(pgrep -P "$job" timeout) ]] && break
		sleep 0.1
	done
	[[ $server ]] && kill "-$1" "$job" && ! wait "$job" || return 1
	for _ in {1..30}; do
		sleep 0.1
		! grep -qs '^State:[[:space:]]*[^Z[:space:]]' "/proc/$server/status" && return
	done
	return 1
}

nothing_left() {
	! pgrep -af "$PWD/temporary" && ! find temporary -mindepth 1 | grep .
}

witness || exit 2
mkdir temporary && chmod 755 temporary
export TMPDIR=$PWD/temporary
for program in "$programs"/*; do
	[[ -f $program && -x $program ]] || continue
	program=${program##*/}
	check "$program/rows" tells_rows "$program" &&
		check "$program/figures" sane "$program" &&
		check "$program/preload" preloads "$program"
done
check unknown-parameter refuses 'no such parameter: colour' "$programs/lua" colour=blue
check no-library refuses 'no such library' env NEAR_PRELOAD=/none.so "$programs/lua" work=trees
check bad-library refuses 'cannot be preloaded' env NEAR_PRELOAD="$PWD/witness.c" "$programs/lua" work=trees
check bad-library-server refuses 'not under' env NEAR_PRELOAD="$PWD/witness.c" "$programs/memcached" size=10
check terminated interrupted TERM
check nothing-left nothing_left
check killed interrupted KILL
