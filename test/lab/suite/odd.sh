# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# machines: memoryless cpuless sparse 8nodes 1node small
# timeout: 600
#
# Machines that are not like others. Where a node has no memory, its CPUs use the nearest; a node without CPUs is for
# those who name it.
# shellcheck shell=dash disable=SC2086
# shellcheck source=test/lab/suite/lib.sh
. "${0%/*}/lib.sh"

nodes=/sys/devices/system/node
locality="$LAB_BIN/lab-locality --require 99 100"
policy=$LAB_BIN/lab-policy

# numbers 0-2,5: 0 1 2 5
numbers() {
	echo "$1" | tr ',' '\n' | while IFS=- read -r first last; do
		[ -z "$first" ] || seq "$first" "${last:-$first}"
	done
}

with_memory=$(numbers "$(cat $nodes/has_memory)")
with_cpus=$(numbers "$(cat $nodes/has_cpu)")
least=
for node in $with_memory; do
	kib=$(sed -n 's/.*MemFree: *\([0-9]*\) kB/\1/p' $nodes/node$node/meminfo)
	[ -n "$least" ] && [ "$least" -le "$kib" ] || least=$kib
done

# A fifth of the smallest node for the CPUs of one, as allocators keep some of what was freed.
cpus_each=$(($(grep -c ^processor /proc/cpuinfo) / $(echo $with_cpus | wc -w)))
per_cpu=$((least / 1024 / 5 / cpus_each))
[ $per_cpu -le 12 ] || long || per_cpu=12
[ $per_cpu -le 40 ] || per_cpu=40
echo "$per_cpu MiB for each CPU"

# What is under way between threads, and large blocks that are kept, would fill a node that is small.
moving=$locality
if [ "$LAB_MACHINE" = small ]; then
	moving="$LAB_BIN/lab-locality --require 99 -1 --small"
	kept=NEARMALLOC_CONF=extent_cache:4M
fi
for scenario in direct firsttouch "recycle 6" "migrations 1500"; do
	try "locality $scenario" 240 $near $locality --per-cpu $per_cpu $scenario
done
for scenario in producer pool; do
	try "locality $scenario" 240 $near $moving --per-cpu $per_cpu $scenario
done

case $(echo $with_memory | wc -w) in
1) try "calls for nodes" 120 $near $LAB_BIN/lab-api one ;;
*)
	try "calls for nodes" 120 $near ${kept-} $LAB_BIN/lab-api apart
	try "figures of nodes" 120 $near ${kept-} $LAB_BIN/lab-figures
	;;
esac
try "the report can be written" 60 $near NEARMALLOC_CONF=stats_print:true $policy --local
if [ "$(echo $with_memory | wc -w)" -eq 1 ]; then
	said "one node: nothing is bound" "nothing needs to be bound"
	try "one node: no mapping has a policy" 60 $near $policy --unbound
fi

for node in $with_memory; do
	if echo "$with_cpus" | grep -qx "$node"; then
		[ "$node" = 0 ] || try "CPUs of node $node alone" 60 numactl --cpunodebind=$node $near $policy --only $node --local
	else
		try "node $node has no CPU: it is used if it is named" 60 $near NEARMALLOC_CONF=nodes:$node $policy \
			--nodes $node --only $node --local
		try "node $node has no CPU: it is used if it is named with others" 60 $near \
			NEARMALLOC_CONF=nodes:0,$node $policy --nodes 0,$node --local
		try "node $node has no CPU: numactl --membind" 60 numactl --membind=$node $near $policy --only $node
	fi
done
for node in $with_cpus; do
	echo "$with_memory" | grep -qx "$node" && continue
	try "node $node has no memory: its CPUs use the nearest" 60 \
		numactl --physcpubind="$(cat $nodes/node$node/cpulist)" $near $policy --local
	try "node $node has no memory: nodes:$node is ignored" 60 $near NEARMALLOC_CONF=nodes:$node $policy --local
	said "node $node has no memory: a warning" "^nearmalloc: "
done
