#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages: clang libclang-rt-14-dev binutils
# timeout: 400
#
# The fuzzers of the allocation interface (heap.c, steps.c, calls.c) and of the configuration (conf.c): the inputs of the corpus by
# gcc's build and by clang's with sanitizers, then new ones for a while. Then the same on code broken on purpose, which
# must be found out without the corpus. ./dev fuzz goes on for hours.
. "$NEAR_SRC/test/lib.sh"
. "$NEAR_SRC/test/fuzz/lib.sh"
need_commands clang objcopy

SECONDS_EACH=5    # of new inputs with each configuration
SECONDS_BROKEN=60 # until which something broken must be found out

corpus=$fuzz/corpus

# new_inputs DIR CORPUS LONGEST SECONDS: what it finds stays here.
new_inputs() {
	mkdir -p new
	timeout -s KILL $(($4 + 60)) "$1/fuzzer" -max_total_time="$4" -max_len="$3" -len_control=0 -artifact_prefix="$PWD/found-" \
		-print_final_stats=1 new "$2" >log 2>&1 || {
		grep -vE '^#|NEW_FUNC' log | head -n 40
		echo "the input: $(base64 -w 0 found-* 2>/dev/null)"
		return 1
	}
}

executed() {
	sed -n 's/^stat::number_of_executed_units: *//p' log
}

check "fuzz: made up nodes" made_up_nodes || exit
check "fuzz: gcc builds" heap_fuzzer gcc "$CC -O2" "$CC" "$fuzz/replay.c" || exit
check "fuzz: clang builds, with sanitizers" heap_fuzzer clang "$instrumented" "clang $fuzzing" || exit
check "fuzz: clang builds what fuzzes the configuration" conf_fuzzer conf "$instrumented" "clang $fuzzing" || exit

for conf in "" "${confs[@]}"; do
	check "fuzz: corpus, gcc's build, ${conf:-default}" fuzz_heap gcc "$conf" "$corpus/heap"
done
check "fuzz: corpus of configurations" conf/fuzzer -runs=0 "$corpus/conf"
check "fuzz: new configurations" new_inputs conf "$corpus/conf" $LONGEST_CONF $SECONDS_EACH &&
	echo "inputs: $(executed)"
for conf in "" "${confs[@]:0:CONFS_SHORT}"; do
	NEARMALLOC_CONF=$conf LD_LIBRARY_PATH=$PWD \
		check "fuzz: new inputs, clang's build, ${conf:-default}" new_inputs clang "$corpus/heap" $LONGEST_HEAP $SECONDS_EACH &&
		echo "inputs: $(executed)"
done

##
## Controls
##

# broken NAME DIR FILE SED CONF SAID: the fuzzer in DIR with a FILE of the library edited ends with those words.
broken() {
	local name="control: $1" dir=$2 file=$3 script=$4 conf=$5 said=$6 began=$SECONDS i
	rm -rf tree bad new found-*
	mkdir -p tree new && cp -r "$NEAR_SRC/src" tree/src && cp -r "$dir" bad
	for i in 1 2 3 4; do
		head -c $LONGEST_HEAP /dev/urandom >new/$i
	done
	sed -i -E "$script" "tree/src/$file"
	if cmp -s "tree/src/$file" "$NEAR_SRC/src/$file"; then
		not_ok "$name" "$file has changed: the edit applies to nothing"
	elif ! { compile bad "$PWD/tree/src" "$instrumented" "$PWD/tree/src/$file" && under_other_names_if_any "$PWD/tree/src/$file" &&
		linked bad "clang $fuzzing"; }; then
		not_ok "$name" "does not build"
	elif fuzz_heap bad "$conf" -max_total_time=$SECONDS_BROKEN -max_len=$LONGEST_HEAP -len_control=0 \
		-artifact_prefix=found- new >log 2>&1; then
		not_ok "$name" "it survived"
	elif grep -qE "$said" log; then
		ok "$name: after $((SECONDS - began)) s"
	else
		not_ok "$name" "it ended otherwise" "$(grep -vE '^#|NEW_FUNC' log | head -n 20)"
	fi
}

under_other_names_if_any() {
	[[ $1 != */abi/* ]] || under_other_names bad "$1"
}

broken "a usable size that is too large" clang malloc/lookup.c \
	's/\.bytes = near__class\[bin_class\(bin\)\]\.bytes,/.bytes = near__class[bin_class(bin)].bytes + 16,/' "" 'not true: '
broken "calloc does not zero what it takes for clean" clang heap/chunk.c \
	's/\*zeroed = !dirty .*;/*zeroed = true;/' "" 'not true: .*all_zero'
broken "an object stays in the magazine" clang arch/generic/locked.c \
	's/if \(object\)$/if (object \&\& (uintptr_t)object % 1024)/' rseq:off 'not true|already free'
broken "realloc loses the end" clang malloc/realloc.c 's/memcpy\(block, ptr, size_min\(old_size, size\)\)/memcpy(block, ptr, size_min(old_size, size) \& ~(size_t)63)/' \
	"" 'not true: word'
broken "an overflow of reallocarray" clang abi/libc.c '/void \*reallocarray/,/^}/ s/if \(__builtin_mul_overflow\(.*\)\)$/bytes = count * size; if (0)/' \
	"" 'not true: (ptr == NULL|reallocarray)'
broken "a magazine that is forgotten" clang cache/drain.c 's/ \+ flush\(table, b, taken.spare, idle\);/;/' "" 'not true: owned'
broken "alignments beyond a page" clang malloc/aligned.c 's/likely\(align <= MAP_PAGE\)/true/' "" 'not true: address %'
broken "a configuration read beyond its end" conf base/conf.c 's/while \(text < end \&\& \*text != /while (*text != /' "" 'AddressSanitizer: (heap|stack)-buffer-overflow'
broken "a complaint that a terminal obeys" conf base/conf.c "s/c < ' ' \|\| c >= 0x7f \? '\?' : c/c/" "" 'not true: .*line'
