#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages: gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-system-arm busybox-static numactl libnuma-dev
# timeout: 7200
#
# What trace.sh does, on aarch64: built here, run in the machine arm64 of the laboratory, which has two nodes. Emulation
# is slow: of each kind of section one copy is traced. NEAR_TRACE_ROUNDS: the long form, all copies, a tenth so often.
. "$NEAR_SRC/test/trace/lib.sh"

rounds=$(((${NEAR_TRACE_ROUNDS:-1} + 9) / 10)) machine=aarch64 prefix=aarch64-linux-gnu-
build=$NEAR_BUILD/aarch64 compiler=${prefix}gcc library=$PWD/libnearmalloc.so
lab=$NEAR_SRC/test/lab/lab
need_commands $compiler qemu-system-aarch64 busybox numactl
if [ -e "$NEAR_SRC/config.status" ]; then
	skip "trace: aarch64" "the source tree is configured itself; make distclean there"
	exit 0
fi
reason=$("$lab" arm64 --prepare) || {
	skip "trace: aarch64" "$reason"
	exit 0
}

##
## Building, in a folder that stays. libnuma is loaded at run time, so its headers will do, which are the same everywhere.
##
built() {
	local flags="-std=gnu11 -g -O1 -D_GNU_SOURCE -fno-builtin -pthread -I$NEAR_SRC/include -I$NEAR_SRC/test/common" p
	mkdir -p "$build/include" && cp -p /usr/include/numa*.h "$build/include" && cd "$build" || return
	[ -e Makefile ] || "$NEAR_SRC/configure" --quiet --host=aarch64-linux-gnu CC=$compiler \
		--disable-static --without-urcu CPPFLAGS="-I$build/include" || return
	cd "$OLDPWD" && make -C "$build" -s -j2 libnearmalloc.la &&
		for p in tracer tracee; do
			# shellcheck disable=SC2086
			$compiler $flags "$NEAR_SRC/test/trace/$p.c" -o "$p" || return
		done
	cp "$build/.libs/libnearmalloc.so" "$library" && list_points "$library" >points && [ -s points ]
}
check "aarch64: builds, and has sections" built || exit

##
## All is asked for twice: first to learn what is to be run in the machine, then to look at what came out.
##
everything() {
	run=0
	if [ -n "${NEAR_TRACE_ROUNDS-}" ]; then
		traced "one node" numa:off one
		traced "two nodes" numa:on two
		all_reached one two
	else
		only=(-f 'malloc,free,exchange,near__bin_take_spare,near__bin_put_spare')
		traced "two nodes, one section of each kind" numa:on two
		expect_nothing "trace: every instruction of them was reached" "$(cat two)"
	fi
	controls
}

quoted() {
	printf " '%s'" "$@"
}

note() {
	local variables=()
	while [ "$1" != -- ]; do
		variables+=("$1")
		shift
	done
	shift
	echo "env$(quoted "${variables[@]}") ./tracer$(quoted "$@") ./tracee >log.$run 2>&1; echo \$? >>log.$run"
} >>inside.sh

run_tracer() {
	run=$((run + 1)) status=125
	: >log
	if [ -z "$came_out" ]; then
		note "$@"
	elif [ -s "out/log.$run" ]; then
		status=$(tail -n 1 "out/log.$run")
		sed '$d' "out/log.$run" >log
	fi
}

came_out=
echo "cd $PWD" >inside.sh
everything >/dev/null
echo 'tar -cf - log.*' >>inside.sh
added=()
for file in "$PWD"/{tracer,tracee,inside.sh,points*,libnearmalloc*.so}; do
	added+=(--add "$file")
done
mkdir out
in_the_machine() {
	NEAR_LIB=$library "$lab" arm64 --timeout $((900 + 1800 * rounds)) "${added[@]}" -- sh "$PWD/inside.sh" >out.tar &&
		tar -C out -xf out.tar
}
check "aarch64: the machine ran" in_the_machine || exit
came_out=yes
everything
