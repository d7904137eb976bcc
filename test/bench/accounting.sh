#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# timeout: 300
#
# Exact accounting on every workload of bench/: wherever one looks at its memory, what the allocator tells of its own must
# add up, and explain what the kernel counts. The control leaves each part out once, which must be seen.
. "$NEAR_SRC/test/lib.sh"
need_commands make

check "accounting: the workloads are built" make -C "$NEAR_BUILD" -s bench-programs || exit
check "accounting: what looks on is built" "$CC" -std=gnu11 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -shared -fPIC \
	-I"$NEAR_SRC/include" -o looks_on.so "$NEAR_SRC/test/bench/accounting.c" -ldl || exit

# What is short without being told so is the first row.
arguments() {
	case $1 in
	idle_threads) echo threads=256 ;;
	long_mixed) echo slots=64 ;;
	*) "$NEAR_BUILD/bench/$1" --rows | head -n 1 ;;
	esac
}

# findings [PART]: what does not add up in the accounts, from which a part may be left out.
findings() {
	awk -v without="${1:-}" '
		function differ(what, a, b) {
			if (a != b)
				print FILENAME ", line " FNR ": " what ": " a " and " b
		}
		function apart(a, b) { return a > b ? a - b : b - a }
		{
			for (i = 1; i < NF; i += 2)
				v[$i] = $(i + 1)
			if (!v["quiet"])
				next
			if (without)
				v[without] = 0
			differ("not mapped", v["unmapped"], 0)
			parts = v["objects"] + v["holes"] + v["large"] + v["free"] + v["kept"] + v["metadata"]
			differ("resident", parts, v["total"])
			most = v["rss"] / 50 > 262144 ? v["rss"] / 50 : 262144
			if (apart(parts, v["rss"]) > most)
				differ("resident, and Rss in smaps", parts, v["rss"])
			spans = v["allocated"] - v["of_large"] + v["cached_cpu"] + v["cached_depot"] + v["free_span"]
			differ("spans", spans, v["in_objects"] + v["in_holes"])
			differ("large blocks", v["of_large"], v["in_large"])
			differ("free pages", v["free_chunk"], v["in_free"])
			differ("kept", v["cached_extent"], v["in_kept"])
			differ("metadata", v["own_metadata"], v["in_metadata"])
			all = spans + v["of_large"] + v["free_chunk"] + v["cached_extent"] + v["own_metadata"]
			differ("mapped", all, v["mapped"])
			if (parts > v["footprint"])
				differ("more is resident than the footprint", parts, v["footprint"])
			if (v["retained"] > v["free_chunk"] + v["cached_extent"])
				differ("more is retained than free", v["retained"], v["free_chunk"] + v["cached_extent"])
			if (v["slack"] > v["allocated"])
				differ("more is slack than allocated", v["slack"], v["allocated"])
		}' accounts/*
}

# Whether there are accounts of the start and of the end that nobody disturbed. Between them some threads are at work.
complete() {
	[ "$(wc -l <"$1")" -ge 2 ] && head -n 1 "$1" | grep -q '^quiet 1 ' && tail -n 1 "$1" | grep -q '^quiet 1 '
}

# account WORKLOAD FILE [CONF]
account() {
	# shellcheck disable=SC2046
	ACCOUNTS=$PWD/$2 NEARMALLOC_CONF=${3:-} LD_PRELOAD="$NEAR_LIB $PWD/looks_on.so" timeout -s KILL 60 \
		"$NEAR_BUILD/bench/$1" --quick $(arguments "$1") >out 2>&1 && complete "$2"
}

# adds_up WORKLOAD [CONF]
adds_up() {
	local name="$1${2:+ $2}" file=accounts/$1${2:+-$2}
	if account "$1" "$file" "${2:-}"; then
		expect_nothing "accounting: $name" "$(findings | grep -F "$file, ")"
	else
		not_ok "accounting: $name" "no account of its start, or of its end" "$(tail -n 5 out)"
	fi
}

mkdir accounts
for source in "$NEAR_SRC"/bench/*.c; do
	adds_up "$(basename "$source" .c)"
done
for workload in fragmentation kv_store larson producer_consumer thread_churn; do
	adds_up $workload rseq:off
	adds_up $workload decay_ms:0
done

# Each part matters to some workload. Of those that the kernel is asked about, by more than what may differ.
for part in objects holes large free kept metadata; do
	check "control: the Rss is not explained without: $part" grep -q 'Rss' <(findings $part)
done
for part in allocated cached_cpu cached_depot free_span free_chunk cached_extent own_metadata; do
	check "control: what is mapped is not explained without: $part" grep -q ': mapped' <(findings $part)
done
