# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# machines: 4nodes 2nodes
#
# Memory lies where the user's policy says, as it does under glibc, and the report names the policy. Without one it
# lies on the node of each CPU; with the option nodes, on those.
# shellcheck shell=dash disable=SC2086
# shellcheck source=test/lab/suite/lib.sh
. "${0%/*}/lib.sh"

policy=$LAB_BIN/lab-policy

# agree NAME POLICY [WORD]... -- [OPTION]...: numactl's words, and what to check. POLICY is as the report calls it.
agree() {
	what=$1 called=$2 words=
	shift 2
	while [ "$1" != -- ]; do
		words="$words $1"
		shift
	done
	shift
	try "$what, on glibc" 60 ${words:+numactl $words} $policy "$@"
	try "$what" 60 ${words:+numactl $words} $near NEARMALLOC_CONF=stats_print:true $policy "$@"
	said "$what: the report says $called" "memory policy $called"
}

# Interleaved by small pages: a few huge ones make the shares uneven, whoever allocates.
agree_by_small_pages() {
	echo never >/sys/kernel/mm/transparent_hugepage/enabled
	agree "$@"
	echo always >/sys/kernel/mm/transparent_hugepage/enabled
}

agree "no policy" default -- --local
agree "membind" bind --membind=1 -- --only 1
agree_by_small_pages "interleave" interleave --interleave=all -- --even "$(cat /sys/devices/system/node/has_memory)"
agree "preferred" preferred --preferred=1 -- --only 1
agree "localalloc on a CPU" local --localalloc --physcpubind=3 -- --only 1 --local
agree "cpunodebind" default --cpunodebind=1 -- --only 1 --local
agree "physcpubind of two nodes" default --physcpubind=1,2 -- --only 0,1 --local

# A policy that was set anyhow must not be overruled by an option.
try "nodes: under membind" 60 numactl --membind=1 $near NEARMALLOC_CONF=nodes:0 $policy --only 1

# confine NODES NAME COMMAND...: in a container, as it were, that leaves these nodes only; the others are then as if
# they had no memory.
cgroups=/sys/fs/cgroup
inside='echo $$ >/sys/fs/cgroup/confined/cgroup.procs && exec "$@"'
confine() {
	mems=$1 what=$2
	shift 2
	if {
		echo +cpuset >$cgroups/cgroup.subtree_control && mkdir -p $cgroups/confined &&
			echo "$mems" >$cgroups/confined/cpuset.mems
	} 2>"$log"; then
		try "$what" 60 sh -c "$inside" - "$@"
		rmdir $cgroups/confined
	else
		echo "skip $what # no cpuset: $(cat "$log")"
	fi
}
confine 1 "memory confined to one node" $near $policy --only 1

for error in EPERM ENOSYS; do
	for call in get_mempolicy mbind; do
		try "$call answers $error" 60 $near NEARMALLOC_CONF=stats_print:true $policy --refuse $call $error
		said "$call answers $error: the report says so" "memory policy refused"
	done
done

try "numa:off" 60 $near NEARMALLOC_CONF=numa:off,stats_print:true $policy --unbound
said "numa:off: the report says so" "numa:off: nothing is bound"
try "nodes:1" 60 $near NEARMALLOC_CONF=nodes:1 $policy --nodes 1 --only 1 --local
try "nodes:9 is no node" 60 $near NEARMALLOC_CONF=nodes:9 $policy --local
if [ "$(grep -c '^nearmalloc: ' "$log")" -eq 1 ]; then
	echo "ok nodes:9: one warning"
else
	echo "not ok nodes:9: one warning" && sed 's/^/  /' "$log"
fi
try "nodes:1,9 is node 1" 60 $near NEARMALLOC_CONF=nodes:1,9 $policy --nodes 1 --only 1 --local

[ "$LAB_MACHINE" = 4nodes ] || exit 0
agree "membind of two nodes" bind --membind=0,3 -- --only 0,3
agree "preferred, CPUs elsewhere" preferred --preferred=2 --cpunodebind=0,1 -- --only 2
agree_by_small_pages "interleave over three" interleave --interleave=0,2,3 -- --even 0,2,3
confine 1,2 "memory confined to two nodes of four" $near NEARMALLOC_CONF=stats_print:true $policy --only 1,2 --local
said "confined to two nodes: both are used" "nodes   2 of 4"
try "nodes:1,3" 60 $near NEARMALLOC_CONF=nodes:1,3,stats_print:true $policy --nodes 1,3 --only 1,3 --local
said "nodes:1,3: the report names two" "nodes   2 of 4"
confine 0-1 "nodes:1,3 of which we may use one" $near NEARMALLOC_CONF=nodes:1,3 $policy --nodes 1 --only 1
