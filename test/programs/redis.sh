#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages: redis-server redis-tools
# timeout: 180
#
# redis: values of all sizes, benchmarks with pipelines through two io
# threads while dumps are written by forked children, deletes, then the dump
# loaded by a new server: every value and the digest of all survive.
#
# Debian's redis is linked with libjemalloc. The preload takes its malloc
# names over; that jemalloc's own heap stays empty is one of the checks.

. "${0%/*}/lib.sh"
need redis-server redis-cli redis-benchmark

own=30000	# keys whose values we know

cli() {
	timeout -k 5 60 redis-cli -s "$dir/socket" "$@"
}

pings() {
	[[ $(cli ping) = PONG ]]
}

start() {
	serve "$dir/server.log" redis-server --port 0 --unixsocket "$dir/socket" --dir "$dir" --save '' \
		--io-threads 2 --io-threads-do-reads yes --enable-debug-command yes --jemalloc-bg-thread no
	await 30 pings && uses "$server"
}

info() {
	cli info "$1" | tr -d '\r' | sed -n "s/^$2://p"
}

# Key I holds I once, then a filler of a length between 0 and 20,000.
commands() {
	awk -v keys="$own" 'BEGIN {
		pad = "zzzzzzzz"
		while (length(pad) < 20000) pad = pad pad
		for (i = 1; i <= keys; i++)
			printf "SET own:%d %d:%s\r\n", i, i, substr(pad, 1, (i % 50) ? i * 7919 % 600 : i * 7919 % 20000)
	}'
}

load() {
	commands | cli --pipe | grep -q 'errors: 0' && values
}

# All of our keys, asked back a hundred at a time.
values() {
	awk -v keys="$own" 'BEGIN {
		for (i = 1; i <= keys; i++) printf "%s own:%d%s", i % 100 == 1 ? "MGET" : "", i, i % 100 ? "" : "\n"
	}' | cli | cmp "$tmp/values" -
}

allocator() {
	local jemalloc

	jemalloc=$(info memory allocator_allocated)
	[[ $(info memory mem_allocator) = jemalloc* ]] || return 0
	echo "redis holds $(info memory used_memory) bytes, jemalloc $jemalloc"
	((jemalloc < $(info memory used_memory) / 4))
}

bench() {
	timeout -k 5 100 redis-benchmark -s "$dir/socket" --csv -r 20000 "$@" >>"$dir/benchmark.log" 2>&1
}

traffic() {
	bench -P 16 -d 100 -n 20000 -t set,get,incr,lpush,rpush,lpop,rpop,sadd,hset,spop,zadd,zpopmin &&
		bench -P 64 -d 1000 -n 30000 -t set,get &&
		bench -P 8 -d 9000 -n 8000 -t set,get &&
		bench -n 2000 -t lrange_100,mset &&
		bench -P 32 -n 20000 del key:__rand_int__ &&
		bench -P 1 -d 300 -n 4000 -t set,get
}

dumped() {
	[[ $(info persistence rdb_bgsave_in_progress) = 0 ]]
}

# Dumps until the benchmarks are over, at least three.
bgsave_under_load() {
	local job dumps=0

	traffic &
	job=$!
	while kill -0 "$job" 2>/dev/null || ((dumps < 3)); do
		cli bgsave | grep -q started && await 60 dumped || break
		[[ $(info persistence rdb_last_bgsave_status) = ok ]] || break
		((++dumps))
		sleep 0.2
	done
	echo "$dumps dumps"
	wait "$job" && ((dumps >= 3)) && ! grep -i error "$dir/benchmark.log"
}

shutdown() {
	digest=$(cli debug digest)
	keys=$(cli dbsize)
	((keys > own)) && { cli shutdown save || true; } && reap "$server"
}

reload() {
	near redis-check-rdb "$dir/dump.rdb" >"$dir/check-rdb.log" 2>&1 && start &&
		[[ $(cli dbsize) = "$keys" && $(cli debug digest) = "$digest" ]] && values
}

# Deletes and an asynchronous flush, freed by a thread of redis.
empty() {
	cli flushall async && [[ $(cli dbsize) = 0 ]] && load && cli memory purge && stop "$server"
}

run() {
	check bound binds redis-server --version
	check start start || return
	check values load
	check allocator allocator
	check bgsave-under-load bgsave_under_load
	check values-after values
	check shutdown shutdown || return
	check reload reload
	check flush empty
}

commands | cut -d' ' -f3 | tr -d '\r' >"$tmp/values"
each_mode run
