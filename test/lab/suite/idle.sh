# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# machines: 4nodes 2nodes
#
# Objects that lie in the bins of another node's CPU, which frees no more of them, come home.
# shellcheck shell=dash disable=SC2086
# shellcheck source=test/lab/suite/lib.sh
. "${0%/*}/lib.sh"

for mode in rseq:auto rseq:off; do
	try "what idle CPUs freed comes home, $mode" 60 $near NEARMALLOC_CONF=decay_ms:200,$mode $LAB_BIN/lab-idle back
	try "and while all threads sleep, $mode" 60 $near NEARMALLOC_CONF=decay_ms:200,$mode $LAB_BIN/lab-idle asleep
	try "with a long decay_ms it stays, $mode" 60 $near NEARMALLOC_CONF=decay_ms:1000000,$mode $LAB_BIN/lab-idle stay
	long || break
done
