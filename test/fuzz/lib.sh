# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
#
# Builds the fuzzers and runs them. To be sourced after test/lib.sh.
# shellcheck shell=bash disable=SC2034

fuzz=$NEAR_SRC/test/fuzz

# What the allocator hands out is unknown to these sanitizers; they watch its code, and the fuzzer's.
sanitize="-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer"
instrumented="clang -fsanitize=fuzzer-no-link $sanitize"
fuzzing="-fsanitize=fuzzer $sanitize"
export ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1

code="-std=gnu11 -g -O1 -D_GNU_SOURCE -DPIC -fPIC -pthread -fno-strict-aliasing -ftls-model=initial-exec -fvisibility=hidden"
code+=" -include $NEAR_BUILD/config.h"
for f in malloc calloc realloc free aligned_alloc memalign posix_memalign valloc pvalloc reallocarray; do
	code+=" -fno-builtin-$f"
done

configured_with() {
	grep -q "NEAR_WITH_$1 1" "$NEAR_BUILD/config.h"
}

# The library but for pthread_create: libnuma and liburcu are loaded at run time, where they are wanted.
sources() {
	local out=(-e /cli/ -e /threads.c)
	configured_with NUMA && out+=(-e /no-numa.c) || out+=(-e /numa.c)
	configured_with URCU && out+=(-e /no-rcu.c) || out+=(-e /rcu.c)
	find "$1" -name '*.[cS]' | grep -v "${out[@]}"
}

object_name() {
	local name=${1##*/src/}
	name=${name##*/test/}
	echo "${name//\//_}.o"
}

# compile DIR SRC COMPILER FILE...: the objects go to DIR; headers are those of the source tree SRC.
compile() {
	local dir=$1 src=$2 compiler=$3 file
	shift 3
	mkdir -p "$dir"
	for file; do
		echo "$compiler $code -I$src -I$NEAR_SRC/include -I$NEAR_SRC/test/common -c $file -o $dir/$(object_name "$file")"
	done | xargs -r -P "$(nproc)" -d '\n' -n 1 sh -c
}

# under_other_names DIR [FILE]: names that libc has too become tested_..., in the allocator and where it is tested; of all
# objects, or of one that was compiled anew.
under_other_names() {
	local object only=${2:+$1/$(object_name "$2")}
	[ -e "$1/names" ] || nm --defined-only --extern-only "$1"/abi_libc.c.o "$1"/abi_cxx.c.o |
		sed -nE '/ near_/d; s/^[0-9a-f]+ [A-Z] ([A-Za-z_0-9]+)$/\1 tested_\1/p' >"$1/names"
	for object in "$1"/abi_*.o "$1"/fuzz_{calls,steps,heap}.c.o; do
		[ "${only:-$object}" != "$object" ] || objcopy --redefine-syms="$1/names" "$object" || return
	done
}

# linked DIR COMPILER: makes DIR/fuzzer
linked() {
	# shellcheck disable=SC2086
	$2 -pthread "$1"/*.o -o "$1/fuzzer" -ldl
}

# heap_fuzzer DIR COMPILER LINKER [FILE]...: the files are more to be compiled with it.
heap_fuzzer() {
	# shellcheck disable=SC2046
	compile "$1" "$NEAR_SRC/src" "$2" $(sources "$NEAR_SRC/src") "$fuzz"/{calls,steps,heap}.c "${@:4}" &&
		under_other_names "$1" && linked "$1" "$3"
}

# conf_fuzzer DIR COMPILER LINKER
conf_fuzzer() {
	compile "$1" "$NEAR_SRC/src" "$2" "$NEAR_SRC"/src/base/*.c "$NEAR_SRC"/src/os/{files,message,pages,thread}.c "$fuzz/conf.c" &&
		linked "$1" "$3"
}

# A machine of three nodes, for numa:on.
export MADE_UP_NODES=3
made_up_nodes() {
	$CC -O1 -fPIC -shared "$NEAR_SRC/test/env/libnuma/libnuma.c" -o libnuma.so.1
}

# fuzz_heap DIR CONF ARGUMENT...: a fuzzer, or who replays, with these options of the allocator.
fuzz_heap() {
	LD_LIBRARY_PATH=$PWD NEARMALLOC_CONF=$2 "$1/fuzzer" "${@:3}"
}

# Options under which the allocation interface is fuzzed; the first ones are for short runs.
CONFS_SHORT=3
confs=(
	numa:on
	rseq:off,decay_ms:0,extent_cache:0,retain_max:0
	limit_soft:16M,limit_hard:48M,decay_ms:1,thp:always
	percpu_cache:64K,depot_cache:64K,purge:free,max_caches:1
	rseq:off
	numa:on,rseq:off,janitor:on,decay_ms:1,cache_ttl:1
	numa:on,remote_free:adopt,depot_cache:64K,cache_ttl:1
	initial_pool:8M,decay_ms:100,janitor:on
	limit_hard:64M,rseq:off
)
LONGEST_HEAP=1201 LONGEST_CONF=4400 # bytes of an input
