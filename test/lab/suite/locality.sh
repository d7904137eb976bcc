# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# machines: 4nodes 2nodes distances
# timeout: 900
#
# Memory lies on the node of the CPU that asked for it, whoever touches or frees it and wherever threads wander.
# shellcheck shell=dash disable=SC2086
# shellcheck source=test/lab/suite/lib.sh
. "${0%/*}/lib.sh"

locality="$LAB_BIN/lab-locality --require 99 100"

near_in() {
	try "$1${3:+, $3}" 400 $near ${3:+NEARMALLOC_CONF=$3} $locality $2
}

near_in "threads on their CPUs" direct
near_in "first touched on another node" firsttouch
near_in "freed on another node" producer
near_in "handed about among all" pool
if [ -x "$LAB_BIN/lab-static" ]; then
	try "first touched on another node, fully static" 60 "$LAB_BIN/lab-static" --require 99 100 firsttouch
else
	echo "skip first touched on another node, fully static # configured with --disable-static"
fi
if long; then
	near_in "12 generations freed from other nodes" "--per-cpu 40 recycle 12"
	near_in "100,000 migrations" "migrations 100000"
else
	near_in "12 generations freed from other nodes" "--per-cpu 12 recycle 12"
	near_in "5,000 migrations" "migrations 5000"
fi

# What others freed is kept where it was freed: that is asked for, and what it costs is known. Growth is not part of it.
adopt=remote_free:adopt
near_in "threads on their CPUs" direct $adopt
if long; then
	try "small objects freed on another node do not pile up" 400 $near $LAB_BIN/lab-locality --small --resident 300 \
		producer 15000
	try "small objects freed on another node do not pile up, $adopt" 400 $near NEARMALLOC_CONF=$adopt \
		$LAB_BIN/lab-locality --small --resident 300 producer 15000
	try "12 generations freed from other nodes, $adopt" 400 $near NEARMALLOC_CONF=$adopt \
		$LAB_BIN/lab-locality --per-cpu 12 --resident 300 recycle 12
	for scenario in direct firsttouch producer pool "recycle 12" "migrations 20000"; do
		near_in "$scenario" "--seed 7 $scenario" rseq:off
	done
else
	try "freed on another node, $adopt" 60 $near NEARMALLOC_CONF=$adopt $LAB_BIN/lab-locality --resident 300 producer 100
fi
