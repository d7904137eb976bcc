# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# machines: 4nodes 2nodes cpuless memoryless
#
# A benchmark that is tied to some CPUs and nodes by numactl, as people do: it must work, whatever is left to it.
# shellcheck shell=dash disable=SC2086
# shellcheck source=test/lab/suite/lib.sh
. "${0%/*}/lib.sh"

bench="$LAB_BIN/lab-pair_table size=256 live=1024 order=random touch=1 batch_us=20"
rows="1 2"
! long || rows="1 2 3 4 5"

for row in $rows; do
	case $row in
	1) words="--cpunodebind=1 --membind=1" ;;
	2) words="--physcpubind=2" ;;
	3) words="--physcpubind=0,3 --localalloc" ;;
	4) words="--interleave=all" ;;
	5) words="--preferred=0 --cpunodebind=1" ;;
	esac
	if ! numactl $words true >/dev/null 2>&1; then
		echo "skip pair_table under numactl $words # this machine does not allow it"
		continue
	fi
	try "pair_table under numactl $words" 120 numactl $words $near $bench
done
