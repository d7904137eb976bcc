#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
#
# The suite of the laboratory in its short form, on four nodes under Linux 6.12 and on two under 6.1, both at once: a
# machine is seldom busy on all its CPUs.
# packages: qemu-system-x86 busybox-static numactl
# timeout: 700
. "$NEAR_SRC/test/lib.sh"

lab=$NEAR_SRC/test/lab/lab
machines=(4nodes 2nodes)

need_commands qemu-system-x86_64 busybox numactl ldd
reason=$("$lab" "${machines[@]}" --prepare) || {
	skip lab "$reason"
	exit 0
}

running=()
for m in "${machines[@]}"; do
	"$lab" "$m" --timeout 600 >"$m.log" 2>"$m.err" &
	running+=($!)
done
for i in "${!machines[@]}"; do
	m=${machines[i]}
	wait "${running[i]}"
	status=$?
	cat "$m.log"
	[ $status -eq 0 ] || grep -q '^not ok ' "$m.log" || not_ok "$m: status $status" "$(tail -n 40 "$m.err")"
done
