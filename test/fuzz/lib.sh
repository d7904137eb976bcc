# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
#
# Builds the fuzzers. To be sourced after test/lib.sh.
# shellcheck shell=bash disable=SC2034

fuzz=$NEAR_SRC/test/fuzz

# Memory of the allocator's is nothing that these sanitizers know; they watch its code, and the fuzzer's.
sanitize="-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer"
export ASAN_OPTIONS=detect_leaks=0:abort_on_error=0:handle_abort=0 UBSAN_OPTIONS=print_stacktrace=1

code="-std=gnu11 -g -O1 -D_GNU_SOURCE -DPIC -fPIC -pthread -fno-strict-aliasing -ftls-model=initial-exec -fvisibility=hidden"
code+=" -include $NEAR_BUILD/config.h -Wno-unused-command-line-argument"
for f in malloc calloc realloc free aligned_alloc memalign posix_memalign valloc pvalloc reallocarray; do
	code+=" -fno-builtin-$f"
done

# The library but for pthread_create: libnuma and liburcu are loaded at run time, where they are wanted.
sources() {
	find "$1" -name '*.[cS]' | grep -v -e /cli/ -e /no-numa.c -e /no-rcu.c -e /threads.c | {
		grep -q 'NEAR_WITH_NUMA 1' "$NEAR_BUILD/config.h" && cat || sed 's|/numa.c|/no-numa.c|'
	} | {
		grep -q 'NEAR_WITH_URCU 1' "$NEAR_BUILD/config.h" && cat || sed 's|/rcu.c|/no-rcu.c|'
	}
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

# under_other_names DIR: what libc exports too is called tested_..., in the allocator and where it is tested.
under_other_names() {
	local object
	nm --defined-only --extern-only "$1"/abi_libc.c.o "$1"/abi_cxx.c.o |
		sed -nE '/ near_/d; s/^[0-9a-f]+ [A-Z] ([A-Za-z_0-9]+)$/\1 tested_\1/p' >"$1/names"
	for object in "$1"/abi_*.o "$1"/fuzz_calls.c.o "$1"/fuzz_heap.c.o; do
		objcopy --redefine-syms="$1/names" "$object" || return
	done
}

# heap_fuzzer DIR COMPILER LINK-FLAGS [DRIVER-OBJECT]: of the sources as they are
heap_fuzzer() {
	# shellcheck disable=SC2046
	compile "$1" "$NEAR_SRC/src" "$2" $(sources "$NEAR_SRC/src") "$fuzz/calls.c" "$fuzz/heap.c" &&
		under_other_names "$1" && linked "$@"
}

# linked DIR COMPILER LINK-FLAGS: DIR/fuzzer
linked() {
	# shellcheck disable=SC2086
	$2 $3 -pthread "$1"/*.o -o "$1/fuzzer" -ldl
}
