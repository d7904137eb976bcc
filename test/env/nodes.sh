#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages:
# timeout: 400
#
# Nodes by option, on any machine: what is said about numbers that are not there, what is bound and what the report tells
# of it, and that all works where the kernel refuses the calls.
. "$NEAR_SRC/test/lib.sh"
. "$NEAR_SRC/test/common/lib.sh"

if [ -e /sys/devices/system/node/has_memory ]; then
	nodes=$(cat /sys/devices/system/node/has_memory)
else
	nodes=0
fi
one_node_only="numa:on, but there is one node only, or the memory policy is the user's; nothing is bound"
none_of_them="nodes: none of them has memory that we may use; all are used"

# says NAME CONF TEXT COMMAND...: what the library says, without its "nearmalloc: ", and the command's status
says() {
	local name="$1 ($mode)" CONF=$2 wanted=$3 out status
	shift 3
	out=$(preloaded 30 "$@" 2>&1)
	status=$?
	if [ "$status" -ne 0 ]; then
		not_ok "$name" "status $status" "$out"
	elif [ "$(sed -n 's/^nearmalloc: //p' <<<"$out")" != "$wanted" ]; then
		not_ok "$name" "wanted: $wanted" "got: $out"
	else
		ok "$name"
	fi
}

# reports NAME CONF PATTERN COMMAND...: in the report at exit; a pattern with ! before it must not be there
reports() {
	local name="$1 ($mode)" CONF=$2,stats_print:true pattern=$3 out status
	shift 3
	out=$(preloaded 30 "$@" 2>&1)
	status=$?
	if [ "$status" -ne 0 ]; then
		not_ok "$name" "status $status" "$out"
	elif [ "${pattern#!}" = "$pattern" ] && ! grep -qE -- "$pattern" <<<"$out"; then
		not_ok "$name" "no line like: $pattern" "$out"
	elif [ "${pattern#!}" != "$pattern" ] && grep -qE -- "${pattern#!}" <<<"$out"; then
		not_ok "$name" "a line like: ${pattern#!}" "$out"
	else
		ok "$name"
	fi
}

messages() {
	local absent=900
	says "numbers that are not there are named once, and all goes on" nodes:$absent "$none_of_them" "$BIN/smoke"
	says "numbers beyond all are named once" nodes:1000-1023 "$none_of_them" /bin/true
	says "no word about nodes that are off" nodes:$absent,numa:off "" "$BIN/smoke"
	says "no word about other nodes beside one that is there" "nodes:${nodes%%[,-]*},$absent" "" "$BIN/smoke"
	says "no word about all" nodes:all "" "$BIN/smoke"
	says "no word about strict without nodes" numa_strict:true,numa:off "" "$BIN/smoke"
	if [ "$nodes" != 0 ]; then
		skip "what is said about one node ($mode)" "several nodes here, or one that is not 0"
		return
	fi
	says "numa:on is answered where there is one node" numa:on "$one_node_only" "$BIN/smoke"
	says "both" numa:on,nodes:7 "$none_of_them
$one_node_only" /bin/true
	says "nodes:7 where there is only 0" nodes:7 "$none_of_them" "$BIN/nodes" home -1
	says "nodes:0, it alone is enough" numa:on,nodes:0 "" /bin/true
	reports "one node is not worth a word" "" "nodes +1; memory policy default; nothing needs to be bound" /bin/true
	reports "one node has no table" "" '!lies at home' /bin/true
}

bound_ones() {
	local policy
	says "nodes:0 is bound" nodes:0 "" "$BIN/nodes" home 0
	says "nodes:0 is off with numa:off" nodes:0,numa:off "" "$BIN/nodes" home -1
	says "nodes:0 strictly" nodes:0,numa_strict:true "" "$BIN/nodes" home 0
	says "strict is not adopting" nodes:0,numa_strict:true,remote_free:adopt \
		"remote_free:adopt would mix nodes under numa_strict:true; kept at home" "$BIN/nodes" home 0
	reports "the report tells what is bound" nodes:0 \
		"nodes +1; memory policy default; each node's memory is bound to it$" /bin/true
	reports "and that it is strict" nodes:0,numa_strict:true "each node's memory is bound to it, strictly$" /bin/true
	reports "and where it lies" nodes:0 '^ +0 .* 100\.0 %$' "$BIN/smoke"
	for policy in preferred bind interleave; do
		says "the policy $policy of the user's wins" nodes:0 "" "$BIN/nodes" under $policy "$BIN/nodes" home -1
		reports "and is told: $policy" nodes:0 "memory policy $policy; set by the user: nothing is bound" \
			"$BIN/nodes" under $policy /bin/true
		says "numa:on answers to the policy $policy" numa:on,nodes:0 "$one_node_only" \
			"$BIN/nodes" under $policy /bin/true
	done
	CONF=nodes:0 try "bound: a bit of everything" 30 "$BIN/smoke"
	CONF=nodes:0,remote_free:adopt,decay_ms:0 try "bound, adopting, without rest: a bit of everything" 30 "$BIN/smoke"
	CONF=nodes:0,numa_strict:true try "strict: a bit of everything" 60 "$BIN/smoke"
	CONF=nodes:0,decay_ms:0 try "bound: the heap under stress" 60 "$BIN/heap" threads=4 seconds=1 signals migrate trim fork
	CONF=nodes:0,numa_strict:true try "strict: the heap under stress" 60 "$BIN/heap" threads=4 seconds=1 signals migrate \
		trim fork
}

# The loader of the filter must not be told of nodes, or it would be refused like the others; that is harmless.
refused_ones() {
	local call error
	for call in get_mempolicy mbind; do
		for error in EPERM ENOSYS; do
			says "$call answers $error: nothing is bound" nodes:0 "" "$BIN/filtered" $call $error "$BIN/nodes" home -1
			reports "$call answers $error: it is told" nodes:0 \
				"nodes +1; memory policy refused by the kernel; nothing is bound" \
				"$BIN/filtered" $call $error /bin/true
			CONF=nodes:0,numa_strict:true try "$call answers $error: strict" 30 "$BIN/filtered" $call $error \
				"$BIN/smoke"
			says "$call answers $error: numa:on is answered" numa:on,nodes:0 "$one_node_only" \
				env -u LD_PRELOAD "$BIN/filtered" $call $error env LD_PRELOAD="$NEAR_LIB" /bin/true
		done
		CONF=nodes:0 try "$call answers EPERM from some moment, bound" 30 "$BIN/smoke" late $call EPERM
	done
	reports "mbind refused later: bound as far as it was" nodes:0 "each node's memory is bound to it$" "$BIN/nodes" bind_refused
	reports "move_pages refused: where memory lies is not told" nodes:0 '^ +0 .* -$' "$BIN/nodes" where_refused
	reports "move_pages refused: nor guessed" nodes:0 '!^ +0 .* %$' "$BIN/nodes" where_refused
}

try_all() {
	messages
	if [ "$nodes" = 0 ] && "$BIN/nodes" may_bind >reason; then
		bound_ones
		refused_ones
	else
		skip "nodes that are bound ($mode)" "$(cat reason 2>/dev/null || echo 'several nodes here')"
	fi
}

each_mode try_all
