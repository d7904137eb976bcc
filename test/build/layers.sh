#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
#
# Who may know whom: a file includes its own layer and lower ones only, and what is confined to some files stays
# there.
. "$NEAR_SRC/test/lib.sh"
cd "$NEAR_SRC/src" || exit 1

layers="base arch os meta heap cache keep malloc watch abi"
public=near/malloc.h

rank() {
	local i=0 layer
	for layer in $layers; do
		i=$((i + 1))
		[ "$layer" != "$1" ] || echo $i
	done
}

# FILE:LINE:#include "PATH" -> FILE PATH
included() {
	grep -rHE --include='*.[ch]' '^[[:space:]]*#[[:space:]]*include[[:space:]]+"' . |
		sed -E 's|^(\./)?([^:]*):.*"([^"]*)".*|\2 \3|'
}

upward=$(included | grep -v ' config\.h$' | while read -r file path; do
	own=$(rank "${file%%/*}") other=$(rank "${path%%/*}")
	if [ "$path" = $public ] || [[ $file == cli/* && $path != */* ]]; then
		continue
	elif [ -z "$own" ] || [ -z "$other" ] || [ ! -e "$path" ]; then
		echo "$file: \"$path\" is in no layer that it may know"
	elif [ "$other" -gt "$own" ]; then
		echo "$file includes $path, which is above it"
	fi
done)
expect_nothing "layers: includes go downward" "$upward"

expect_nothing "layers: no .c file is included" "$(included | grep '\.c$')"

# confined NAME PATTERN ALLOWED-FILES: the pattern, outside of comments, occurs in files that match only.
confined() {
	expect_nothing "layers: $1" "$(grep -rnE --include='*.[chS]' "$2" . | sed 's|^\./||' |
		grep -vE "^($3)" | grep -vE '^[^:]*:[0-9]*:[[:space:]]*(/?\*|//)')"
}

confined "locks are taken in heap, meta, the locked sections, by walkers and checkers, and by who drains or purges" \
	'\b(lock_acquire|lock_try|pthread_mutex_lock|pthread_spin_lock|mtx_lock)\b' \
	'base/lock\.h|heap/|meta/|arch/generic/|cache/drain\.c|watch/(walk|check)\.c|cache/[a-z]*\.c:.*near__drain_lock|keep/[a-z]*\.c:.*near__purge_lock'
confined "only os calls the kernel" \
	'#[[:space:]]*include[[:space:]]*<(sys/(mman|syscall|prctl|auxv|stat|uio|resource|sysinfo)|linux/|asm/|sched|fcntl|dlfcn|dirent|numa|poll)' \
	'os/|cli/'
confined "only os knows libnuma" '\bnuma_([a-rt-z]|s[^t])|<numa' 'os/numa\.c'
confined "only os/rcu.c knows liburcu" '<urcu|\burcu_|\bsynchronize_rcu|\brcu_read_' 'os/rcu\.c'
confined "only arch, cache and os know rseq" '\brseq_cpu_id|\b__rseq_|near__rseq_offset|\bRSEQ_C|struct rseq' 'arch/|cache/|os/'
confined "nothing is thread-local" '\b(__thread|_Thread_local|thread_local)\b' 'os/rseq\.c'
confined "library code does not print through stdio" '<stdio\.h>' 'cli/'

expect_nothing "layers: every source is in Makefile.am" "$(find . -name '*.[chS]' | sed 's|^\./|src/|' | while read -r f; do
	grep -q "$f" "$NEAR_SRC/Makefile.am" || echo "$f"
done)"
expect_nothing "layers: files name their license" "$(grep -rL --include='*.[chS]' 'SPDX-License-Identifier: MIT' . ../include)"
expect_nothing "layers: no file is longer than 500 lines" "$(find . -name '*.[chS]' -print0 | xargs -0 wc -l | awk '$2 != "total" && $1 > 500')"
