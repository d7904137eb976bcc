#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages: util-linux
# timeout: 400
#
# Strange places: no /proc and /sys, an almost empty root, no descriptors, few processes allowed, foreign privileges,
# and a statically linked program.
. "$NEAR_SRC/test/lib.sh"
. "$NEAR_SRC/test/common/lib.sh"

hide='mount --make-rprivate / && mount -t tmpfs none /proc && mount -t tmpfs none /sys && mount -t tmpfs none /etc'

own_mounts=
if unshare -m true 2>/dev/null; then
	own_mounts='unshare -m'
elif unshare -rm true 2>/dev/null; then
	own_mounts='unshare -rm'
fi

without_proc() {
	if [ -z "$own_mounts" ]; then
		skip "no /proc, no /sys, no /etc ($mode)" "no mount namespaces here"
		return
	fi
	try "no /proc, no /sys, no /etc" 30 env -u LD_PRELOAD $own_mounts sh -c "$hide"' && LD_PRELOAD=$1 exec "$2"' - \
		"$NEAR_LIB" "$BIN/smoke"
}

# A root with nothing but the program and its libraries.
make_root() {
	local file
	mkdir -p root/tmp
	{
		ldd "$BIN/smoke"
		ldd "$NEAR_LIB"
	} | grep -o '/[^ ]*' | sort -u | while read -r file; do
		mkdir -p "root$(dirname "$file")"
		cp -L "$file" "root$file"
	done
	cp "$BIN/smoke" root/smoke
	cp "$NEAR_LIB" root/near.so
}

empty_root() {
	if ! chroot / true 2>/dev/null; then
		skip "an almost empty root ($mode)" "chroot needs root"
		return
	fi
	[ -d root ] || make_root
	loader=$(cd root && echo lib64/ld-linux* lib/ld-linux* | tr ' ' '\n' | grep -v '*' | head -n 1 | sed 's|^|/|')
	# shellcheck disable=SC2046
	timeout -s KILL 30 env $(mode_env) chroot root "$loader" --preload /near.so /smoke >out 2>&1
	judge "an almost empty root" $? out
}

as_nobody() {
	if [ "$(id -u)" -ne 0 ]; then
		skip "no new threads or processes allowed ($mode)" "needs root to become somebody else"
		return
	fi
	if ! setpriv --reuid 65534 --regid 65534 --clear-groups test -x "$BIN/smoke" -a -r "$NEAR_LIB"; then
		skip "no new threads or processes allowed ($mode)" "nobody may not read the build directory"
		return
	fi
	try "no new threads or processes allowed" 30 env -u LD_PRELOAD setpriv --reuid 65534 --regid 65534 \
		--clear-groups bash -c 'ulimit -u 1; LD_PRELOAD=$1 exec "$2"' - "$NEAR_LIB" "$BIN/smoke"
}

# A program with foreign privileges heeds neither environment nor file. The only preload that it accepts is one in
# /etc/ld.so.preload, so it gets an /etc of its own. The launcher sets the options, lest others on the way heed them.
privileged_smoke() {
	# shellcheck disable=SC2016
	timeout -s KILL 30 unshare -m sh -c '
		mount --make-rprivate / && mount -t tmpfs none /etc && echo "$1" >/etc/ld.so.preload || exit 3
		echo no_such_line:1 >/etc/nearmalloc.conf
		shift
		exec "$@"
	' - "$NEAR_LIB" "$@" "$BIN/smoke" >out 2>&1
}

# How often the environment was, and the file.
heeded() {
	echo "$(grep -c no_such_key out) $(grep -c no_such_line out)"
}

privileged() {
	local name="privileged programs ignore the environment and /etc/nearmalloc.conf"
	if [ "$own_mounts" != 'unshare -m' ]; then
		skip "$name" "needs root"
		return
	fi
	# The file is also read by the launcher.
	if ! privileged_smoke env NEARMALLOC_CONF=no_such_key:1 || [ "$(heeded)" != "1 2" ]; then
		not_ok "$name" "the preload did not take place: $(cat out)"
	elif ! privileged_smoke "$BIN/privileged" no_such_key:1 || [ "$(heeded)" != "0 1" ]; then
		not_ok "$name" "$(cat out)"
	else
		ok "$name"
	fi
}

static_program() {
	if [ -z "${NEAR_STATIC:-}" ]; then
		skip "statically linked ($mode)" "NEAR_STATIC names no archive"
		return
	fi
	# shellcheck disable=SC2046,SC2086
	timeout -s KILL 30 env $(mode_env) ./smoke-static >out 2>&1
	judge "statically linked" $? out
}

if [ -n "${NEAR_STATIC:-}" ]; then
	# shellcheck disable=SC2086
	"$CC" -std=gnu11 -O1 -fno-builtin -D_GNU_SOURCE -pthread -static -I"$NEAR_SRC/test/common" -Wl,-u,malloc \
		"$NEAR_SRC/test/env/smoke.c" "$NEAR_STATIC" ${NEAR_STATIC_LIBS-} -o smoke-static >link 2>&1 ||
		not_ok "links statically" "$(tail -n 5 link)"
fi

places() {
	without_proc
	empty_root
	as_nobody
	static_program
	try "all descriptors closed" 30 "$BIN/closed"
}

each_mode places
privileged
