#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages:
#
# Guard pages below and above all that the allocator keeps about memory.
. "$NEAR_SRC/test/lib.sh"
. "$NEAR_SRC/test/common/lib.sh"
. "$NEAR_SRC/test/common/variant.sh"

each_mode try "security: guards around metadata" 60 "$BIN/guards"

# unguarded NAME PATTERN LIBRARY-COMMAND...: the program must notice it, and say where.
unguarded() {
	local name="control: $1 is noticed" pattern=$2 said
	shift 2
	if ! "$@" >log 2>&1; then
		not_ok "$name" "$(tail -n 5 log)"
		return
	fi
	said=$(LD_PRELOAD=$PWD/open.so timeout 60 "$BIN/guards" 2>&1)
	check "$name" grep -qE "$pattern" <<<"$said"
}

unguarded "metadata without guards" '^metadata .* can be reached' library_edited open.so os/pages.c \
	'/^void \*near__os_map_guarded/,/^}/ s/PROT_NONE/PROT_READ | PROT_WRITE/'
unguarded "metadata without a guard above" '^metadata .* from above' library_edited open.so os/pages.c \
	'/^void \*near__os_map_guarded/,/^}/ s/start \+ guard, bytes\)/start + guard, bytes + guard)/'
unguarded "metadata without a guard below" '^metadata .* from below' library_edited open.so os/pages.c \
	'/^void \*near__os_map_guarded/,/^}/ s/\(start \+ guard, bytes\)/(start, bytes + guard)/'
unguarded "the mark for forks without guards" '^the mark for forks' library_edited open.so os/futex.c \
	's/near__os_map_guarded\(near__os_page_size\)/near__os_map(near__os_page_size, near__os_page_size)/'
# What lies behind the tables is chance, so something is put there.
unguarded "tables without a guard" '^the tables .* from above' library_where open.so near__os_guard '
	#include <sys/mman.h>
	void __wrap_near__os_guard(void *start);
	void __wrap_near__os_guard(void *start) { mmap(start, 4096, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0); }'
