# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# machines: 4nodes 2nodes distances newest arm64 arm64-newest
#
# The calls for nodes, where memory is kept apart by nodes and where it is not.
# shellcheck shell=dash disable=SC2086
# shellcheck source=test/lab/suite/lib.sh
. "${0%/*}/lib.sh"

api=$LAB_BIN/lab-api

try "calls for nodes" 120 $near $api apart
try "figures of nodes" 120 $near $LAB_BIN/lab-figures
try "calls for nodes, numa:off" 120 $near NEARMALLOC_CONF=numa:off $api one
long || exit 0
try "calls for nodes, rseq:off" 120 $near NEARMALLOC_CONF=rseq:off $api apart
try "figures of nodes, rseq:off" 120 $near NEARMALLOC_CONF=rseq:off $LAB_BIN/lab-figures
try "calls for nodes, numa_strict:true" 240 $near NEARMALLOC_CONF=numa_strict:true $api apart
try "calls for nodes under a policy" 120 numactl --interleave=all $near $api one
