#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages: liburcu8
# timeout: 500
#
# Stress of the machinery against its internals, and its negative controls: for each rule that can be broken on
# purpose a variant of the allocator breaks it and must be seen to fail by the same program that the intact one
# passes. The sources stay clean: a variant is a copy of one file, edited here, or a function replaced by the linker.
# shellcheck disable=SC2046,SC2086
. "$NEAR_SRC/test/lib.sh"

SECONDS_INTACT=${NEAR_STRESS_SECONDS:-3} # of each run that must pass
SECONDS_BROKEN="2 10 40"                 # a broken one is run so long, and longer while it survives
SPARE=4                                  # seconds beyond which a run counts as hanging

flags="-std=gnu11 -O2 -g -pthread -fno-strict-aliasing -ftls-model=initial-exec -include $NEAR_BUILD/config.h"
flags+=" -Werror=implicit-function-declaration"
for f in malloc calloc realloc free; do
	flags+=" -fno-builtin-$f"
done
tests=$NEAR_SRC/test/stress/controls

# compile SRC OBJECT-DIR FILE...: files of the source tree SRC, or of the folder of test programs.
compile() {
	local src=$1 out=$2 file
	shift 2
	for file; do
		echo "$CC $flags -I$src -I$NEAR_SRC/include -I$NEAR_SRC/test/unit -I$tests" \
			"-c $file -o $out/$(object_name "$file")"
	done | xargs -r -P 2 -d '\n' -n 1 sh -c
}

object_name() {
	local name=${1##*/src/}
	name=${name##*/stress/}
	echo "${name//\//_}.o"
}

# Every layer that the programs need; libnuma and liburcu have no part in this.
sources() {
	find "$1" -name '*.c' | grep -v -e /abi/ -e /cli/ -e '/watch/[^c]' -e /os/numa.c -e /os/rcu.c
}

# run PROGRAM MODE LIMIT SECONDS [VARIANT]: sets status and said.
run() {
	local conf=
	[ "$2" = rseq ] || conf=rseq:off
	said=$(NEARMALLOC_CONF=$conf STRESS_MODE=$2 timeout -s KILL "$3" "${5:-./intact}" "$1" "$4" 2>&1)
	status=$?
	[ "$status" -eq 0 ] && said=$(tail -n 1 <<<"$said") || said=$(tail -n 3 <<<"$said" | tr '\n' ' ') # a child's reason, too
	[ "$status" -ne 137 ] || said="it hangs"
}

passes() {
	run "$1" "$2" $((SECONDS_INTACT + 20)) "$SECONDS_INTACT"
	case $status in
	0) ok "stress: $1 ($2): $said" ;;
	77) skip "stress: $1 ($2)" "$said" ;;
	*) not_ok "stress: $1 ($2)" "status $status: $said" ;;
	esac
}

# judge NAME PROGRAM MODE: the variant was built as ./variant.
judge() {
	local name="control: $1 ($3)" seconds
	for seconds in $SECONDS_BROKEN; do
		run "$2" "$3" $((seconds + SPARE)) "$seconds" ./variant
		[ "$status" -eq 0 ] || break
	done
	case $status in
	0) not_ok "$name" "the broken variant survived: $said" ;;
	2) not_ok "$name" "cannot be run: $said" ;;
	77) skip "$name" "$said" ;;
	*) ok "$name: ${said:-status $status}" ;;
	esac
}

# edited NAME PROGRAM MODE FILE SED [USERS]: FILE is changed, and what it is compiled into; of a header, the files
# that contain the pattern USERS.
edited() {
	local name=$1 program=$2 mode=$3 file=$4 script=$5 users=${6:-} changed
	rm -rf copy out
	cp -r "$NEAR_SRC/src" copy && cp -r objects out
	mkdir -p tree && rm -rf tree/src && mv copy tree/src
	sed -i -E "$script" "tree/src/$file"
	if cmp -s "tree/src/$file" "$NEAR_SRC/src/$file"; then
		not_ok "control: $name ($mode)" "$file has changed: the edit applies to nothing"
		return
	fi
	changed=$PWD/tree/src/$file
	[ -z "$users" ] || changed=$(grep -lE "$users" $(sources "$PWD/tree/src") "$tests"/*.c)
	if compile "$PWD/tree/src" out $changed && $CC -pthread out/*.o -o variant; then
		judge "$name" "$program" "$mode"
	else
		not_ok "control: $name ($mode)" "does not build"
	fi
}

# replaced NAME PROGRAM MODE FUNCTION DEFINITION: the linker sends calls of FUNCTION to another.
replaced() {
	local name=$1 program=$2 mode=$3 function=$4
	echo "$5" >replacement.c
	if $CC -O2 -c replacement.c && $CC -pthread "-Wl,--wrap=$function" objects/*.o replacement.o -o variant; then
		judge "$name" "$program" "$mode"
	else
		not_ok "control: $name ($mode)" "does not build"
	fi
}

mkdir -p objects
check "stress: builds" compile "$NEAR_SRC/src" objects $(sources "$NEAR_SRC/src") "$tests"/*.c || exit
check "stress: links" $CC -pthread objects/*.o -o intact || exit

for mode in rseq locked; do
	passes caches $mode
	passes adopt $mode
	passes forks $mode
	passes purges $mode
done
passes stack locked

##
## Draining
##
replaced "no fence after the stub is stored" caches rseq near__membarrier_fence \
	'int __wrap_near__membarrier_fence(unsigned cpu); int __wrap_near__membarrier_fence(unsigned cpu) { return (int)(cpu & 0); }'
edited "only one of the base arrays gets the stub" caches rseq cache/drain.c '/store_release\(&LOCAL_BASE\[/d'
edited "tables are emptied without their lock" caches locked cache/drain.c \
	's/bool locked = near__mode == NEAR_MODE_LOCKED;/bool locked = false;/'

edited "objects of two nodes go back under the lock of one" adopt rseq heap/span.c \
	's/ && span_at\(index\[end - 1\]\)->node == node//'
edited "an idle bin is emptied without the stub" caches rseq cache/drain.c \
	's/with_table\(table, empty_idle, age\)/empty_idle(table, age)/'

##
## The sections, by their text
##
uses_sections='section_[a-z]|fast_(malloc|free)'
in_section() {
	if [ "$(uname -m)" = x86_64 ]; then
		edited "$1" caches rseq arch/x86_64/sections.h "$2" "$uses_sections"
	else
		skip "control: $1" "the edit is for x86-64"
	fi
}
in_section "exchanges do not test for the stub" \
	'/cmp \$1, %\[seen\]/,/je 2f/d'
in_section "a spare is put over another" \
	'/section_put_spare/,/return/ { /test %\[spare\]/d; /jne 2f/d }'
in_section "exchange though not empty any more" \
	'/cmpq \$0, \(%\[seen\]\)/,/jne 2f/d'
in_section "push commits before the slot is stored" \
	'/section_push/,/return/ { /mov %\[object\], \(%\[cursor\]\)/ { h; d }; /commit/ { s/\\n"/\\n\\t"/; G } }'
edited "a spare is put over another" caches locked arch/generic/locked.c \
	's/bool room = bin->spare == SPARE_NONE;/bool room = true;/'
edited "exchange though not empty any more" caches locked arch/generic/locked.c \
	's/: !\*\(void \*\*\)old\)/: true)/'

##
## Magazines, stacks, locks
##
edited "the sentinel is not zeroed at re-use" caches rseq cache/magazine.c '/\*\(uintptr_t \*\)bottom = 0;/d'
edited "no tag in the head of a stack" stack locked meta/pool.c \
	's/return \(\(old >> 32\) \+ 1\) << 32 \| index;/return (void)old, index;/'
edited "a lock waits for its own thread" caches locked os/futex.c \
	'/if \(lock_is_mine\(lock\)\)/,/return false;/d; /if \(.*holds_a_lock/,/return false;/d'
edited "a handler that came under one lock waits for another" caches locked os/futex.c \
	'/if \(.*holds_a_lock/,/return false;/d'
skip "control: pop from a depot without acquire" "loads are not reordered on x86-64, and nothing else runs here"

##
## Fork
##
edited "orphaned lists are not rebuilt in the child" forks locked heap/rebuild.c \
	's/^(\t+)(near__chunk_rebuild|relink_extents|relink_spans)\(.*\);/\1;/'
replaced "orphaned locks stay in the child" forks locked near__heap_after_fork \
	'void __wrap_near__heap_after_fork(void); void __wrap_near__heap_after_fork(void) {}'
replaced "tables in a drainer's hands stay stubbed in the child" forks rseq near__cache_after_fork \
	'void __wrap_near__cache_after_fork(void); void __wrap_near__cache_after_fork(void) {}'

##
## Giving back
##
edited "pages are purged though nobody marked them as used" purges locked heap/purge.c \
	's/near__bits_(set|clear)\(chunk->used, run->at, run->pages\);//'
edited "a span is purged while it hands out" purges locked heap/purge.c \
	's/near__span_(unlink\(list, span|relink\(list, span, index)\);//'
edited "a span that takes objects back while it is purged hands them out" purges locked heap/span.c \
	's/ \|\| span->purging//'
edited "an extent is dropped, and may be taken" purges locked heap/extent.c \
	'/^static uint32_t oldest/,/^}/ s/unlink_extent\(.*\);/;/'
edited "the end of an extent is dropped, and may be taken" purges locked heap/extent.c \
	'/^static uint32_t cut/,/^}/ s/span->bytes = bytes;//'
edited "an empty chunk is unmapped, and may be taken" purges locked heap/region.c \
	'/^static void hide_chunk/,/^}/ s/near__chunk_unlink\(heap, chunk\);//'

##
## What contents do not show, and near_check does
##
edited "a magazine is forgotten" caches rseq cache/refill.c \
	's/^(\t+)near__magazine_give\(fresh, node\);/\1;/'
edited "what is charged for a spare is not taken back" caches locked cache/bins.c \
	's/charge_to\(charge, table, -near__bin_worth\(bin, spare\)\);/;/'
edited "a depot counts what it gives away" caches locked cache/magazine.c '/fetch_sub_relaxed\(&depot->bytes/d'
edited "a span that is gone stays in the page map" caches locked heap/span.c \
	'/^static void release_span/,/^}/ { /near__pagemap_set/d }'
edited "a large block that is gone stays in the page map" purges locked heap/large.c \
	'/^bool near__large_free/,/^}/ { /near__pagemap_set/d }'
edited "pages in use are taken for given back" purges locked heap/chunk.c '/near__bits_set\(chunk->dirty, at, pages\);/d'
edited "what is given back is not counted" purges locked heap/purge.c \
	'/^static size_t take_back/,/^}/ s/near__chunk_settle\(.*\);/;/'
edited "a busy chunk is not counted by its region" purges locked heap/chunk.c 's/near__region_count\(.*\);/;/'

##
## Walkers. They need the whole library, so its objects are linked anew, some calls sent elsewhere, and preloaded.
##
library_flags="-shared -pthread -Wl,--version-script=$NEAR_SRC/src/abi/nearmalloc.map -Wl,-Bsymbolic-functions -Wl,-z,nodelete"

# walked OPTIONS FUNCTION...: walkers, unmapping and load together, where these functions say that nobody need be waited for.
walked() {
	local options=$1 wraps=() function
	shift
	: >replacement.c
	for function; do
		echo "_Bool __wrap_$function(void); _Bool __wrap_$function(void) { return 1; }" >>replacement.c
		wraps+=("-Wl,--wrap=$function")
	done
	$CC -O2 -fPIC -fvisibility=hidden -c replacement.c || return 2
	$CC $library_flags "${wraps[@]}" replacement.o $(find "$NEAR_BUILD/src" -path '*/.libs/*.o') $NEAR_STATIC_LIBS \
		-o walked.so || return 2
	NEARMALLOC_CONF=decay_ms:50$options LD_PRELOAD=$PWD/walked.so timeout -s KILL 60 \
		"$NEAR_BUILD/test/bin/memory" walkers >walked 2>&1
}

# unwaited NAME OPTIONS FUNCTION...: must end by a signal, SIGSEGV most likely.
unwaited() {
	local name=$1 status
	shift
	for _ in 1 2 3; do
		walked "$@"
		status=$?
		[ "$status" -eq 0 ] || break
	done
	check "control: $name: status $status" [ "$status" -eq 139 -o "$status" -eq 134 ]
}

if [ -n "$(find "$NEAR_BUILD/src" -path '*/.libs/rcu.o')" ]; then
	check "stress: walkers, linked anew" walked ""
	check "stress: walkers, linked anew, nothing is kept" walked ,extent_cache:0
	unwaited "memory is unmapped without a grace period" "" near__rcu_synchronize
	unwaited "who must not wait unmaps while somebody walks" ,extent_cache:0 near__walk_none
	unwaited "nobody asks for walkers" "" near__walk_none near__walk_left
else
	skip "control: unmapping without waiting for walkers" "built without liburcu"
fi
