#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages: binutils
#
# What the two libraries show to the world, and that a preload is bound.
. "$NEAR_SRC/test/lib.sh"

names="malloc free calloc realloc reallocarray posix_memalign aligned_alloc memalign valloc pvalloc cfree
malloc_usable_size malloc_trim mallinfo mallinfo2 malloc_info malloc_stats mallopt free_sized free_aligned_sized"
threads="pthread_create thrd_create" # src/abi/threads.c, not in the archive
twins=$(printf '__libc_%s\n' $names)
# new, new[] and delete, delete[]: plain, nothrow, aligned, aligned nothrow; delete also sized and sized aligned
operators=$(printf '%s\n' _Zn{w,a}m{,RKSt9nothrow_t,St11align_val_t{,RKSt9nothrow_t}} \
	_Zd{l,a}Pv{,m,RKSt9nothrow_t,St11align_val_t{,RKSt9nothrow_t},mSt11align_val_t})
public=$(sed -nE 's/.*[ *](near_[a-z_]+)\(.*\)[^()]*;.*/\1/p' "$NEAR_SRC/include/near/malloc.h")

lines() {
	# shellcheck disable=SC2086
	printf '%s\n' $1 | sort -u
}

exported=$(nm -D --defined-only "$NEAR_LIB" | awk '{print $3}' | sort)

expect_nothing "symbols: all malloc names, and those that make threads, are exported, without a version" \
	"$(comm -23 <(lines "$names $operators $threads") <(echo "$exported"))"
expect_nothing "symbols: libc's twins are exported, without a version" \
	"$(comm -23 <(lines "__libc_malloc __libc_free __libc_calloc __libc_realloc __libc_memalign __libc_valloc __libc_pvalloc") \
		<(echo "$exported"))"
expect_nothing "symbols: the public functions are exported with a version" \
	"$(comm -23 <(lines "$public" | sed 's/$/@@NEARMALLOC/') <(echo "$exported" | sed -E 's/_[0-9]+\.[0-9]+$//'))"
expect_nothing "symbols: nothing else is exported" \
	"$(comm -13 <(lines "$names $twins $operators $threads") <(echo "$exported" |
		grep -vE '^near_[a-z][a-z_]*@@NEARMALLOC_[0-9]+\.[0-9]+$|^NEARMALLOC_[0-9]+\.[0-9]+$'))"

dynamic=$(readelf -dW "$NEAR_LIB")
expect_nothing "symbols: libc is all that is needed" \
	"$(echo "$dynamic" | grep NEEDED | grep -vE '\[(libc\.so\.|libc\.musl|ld-linux|libdl\.so|libpthread\.so)')"
check "symbols: -z nodelete" grep -q NODELETE <<<"$dynamic"
check "symbols: -z now" grep -q 'FLAGS_1.*NOW' <<<"$dynamic"
check "symbols: -z relro" grep -q GNU_RELRO <(readelf -lW "$NEAR_LIB")
expect_nothing "symbols: no text relocations, no executable stack" \
	"$(grep TEXTREL <<<"$dynamic"; readelf -lW "$NEAR_LIB" | grep 'GNU_STACK.*E 0x')"
expect_nothing "symbols: no thread-local variable needs a call" "$(nm -D "$NEAR_LIB" | grep __tls_get_addr)"

# A program that knows nothing of the library asks what its malloc returned.
cat >bound.c <<'EOF'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
int main(void)
{
	void *p = malloc(1);
	_Bool (*owns)(const void *) = (_Bool (*)(const void *))dlsym(RTLD_DEFAULT, "near_owns");
	return !owns || !owns(p);
}
EOF
if check "symbols: the probe compiles" "$CC" -O0 -fno-builtin bound.c -o bound; then
	check "symbols: a preload is bound" env LD_PRELOAD="$NEAR_LIB" ./bound
	if ./bound; then
		not_ok "symbols: without the preload the probe says no"
	else
		ok "symbols: without the preload the probe says no"
	fi
fi

archive=${NEAR_LIB%.so}.a
if [ -e "$archive" ]; then
	globals=$(nm -A --defined-only --extern-only "$archive" 2>/dev/null | sed -E 's/.*:([^:]*): *[0-9a-f]* [A-Z] /\1 /')
	holders=$(echo "$globals" | awk 'NR == FNR { name[$1]; next } $2 in name { print $1 }' <(lines "$names $twins") - | sort -u)
	check "symbols: one object of the archive holds libc's names" [ "$(wc -w <<<"$holders") object" = "1 object" ]
	expect_nothing "symbols: the archive defines no foreign names" "$(echo "$globals" | awk '{print $2}' |
		grep -vE '^near_' | sort -u | comm -13 <(lines "$names $twins $operators") -)"
else
	skip "symbols: archive" "configured with --disable-static"
fi
