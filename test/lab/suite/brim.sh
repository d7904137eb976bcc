# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# machines: 4nodes 2nodes distances memoryless sparse
# timeout: 400
#
# A node that is full: others serve by distance, or with numa_strict:true nobody. Never is anybody killed.
# shellcheck shell=dash disable=SC2086
# shellcheck source=test/lab/suite/lib.sh
. "${0%/*}/lib.sh"

brim=$LAB_BIN/lab-brim
strict=NEARMALLOC_CONF=numa_strict:true

# What the kernel keeps for itself is a third of what is left here, where it makes ready for huge pages.
reserve=/proc/sys/vm/min_free_kbytes
before=$(cat $reserve)
echo 8192 >$reserve

# The nodes that have memory and CPUs.
both=
for node in /sys/devices/system/node/node[0-9]*; do
	node=${node##*/node}
	if [ -n "$(cat /sys/devices/system/node/node$node/cpulist)" ] &&
		grep -q 'MemTotal: *[1-9]' /sys/devices/system/node/node$node/meminfo; then
		both="$both $node"
	fi
done
set -- $both

# A column of the report's table of nodes, by its number from the end.
lies_at_home() {
	awk -v node="$1" '/^node /{table=1; next} /^[^ ]/{table=0} table && $1 == node {print $(NF-1)}' "$log"
}

fall() {
	try "node $1 is full: others serve by distance${2:+, node $2 being full too}" 120 $near $brim fall "$@"
	at_home=$(lies_at_home "$1")
	case $at_home in
	'' | 100.*) echo "not ok node $1 is full: the report shows it" && echo "  lies at home: '$at_home' %" ;;
	*) echo "ok node $1 is full: the report shows it" ;;
	esac
}

fall "$2"
try "node $2 is full: numa_strict refuses" 120 $near $strict $brim strict "$2"
long || {
	echo "$before" >$reserve
	exit 0
}
try "node $1 is full after much was given back: numa_strict refuses" 120 $near $strict $brim trimmed "$1"
try "node $1 is full: numa_strict refuses, rseq:off" 120 $near $strict,rseq:off $brim strict "$1"
fall "$1"
[ $# -lt 3 ] || fall "$1" "$2"
[ $# -lt 3 ] || fall "$3" "$2"
if dmesg | grep -i 'killed process'; then
	echo "not ok nobody was killed"
else
	echo "ok nobody was killed"
fi
echo "$before" >$reserve
