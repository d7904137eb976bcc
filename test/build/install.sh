#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages: gcc g++ pkg-config libnuma-dev liburcu-dev
#
# Installs into a staging folder, moves the tree elsewhere, and builds the examples there as a user would: shared,
# static, and fully static. Each example fails unless malloc is ours.
. "$NEAR_SRC/test/build/lib.sh"
need_commands pkg-config

prefix=$(sed -n 's/^prefix = //p' "$NEAR_BUILD/Makefile")
check "install: make install DESTDIR" make -C "$NEAR_BUILD" -s install DESTDIR="$PWD/stage" || exit
cp -a "stage$prefix" moved
moved=$PWD/moved

pc=$(find "$moved" -name nearmalloc.pc)
libdir=$(dirname "$(dirname "$pc")")
export PKG_CONFIG_PATH=${pc%/*}
flags() {
	pkg-config --cflags --libs "$@" nearmalloc
}

expect_nothing "install: no trace of the build or staging folder" "$(grep -rlF -e "$NEAR_BUILD" -e "$PWD/stage" "$moved" \
	--include='*.pc' --include='*.la' --include='*.h')"
check "install: pkg-config knows where the tree is now" [ "$(realpath "$(pkg-config --variable=libdir nearmalloc)")" = "$(realpath "$libdir")" ]
check "install: pkg-config tells the version" [ "nearmalloc $(pkg-config --modversion nearmalloc)" = "$("$moved/bin/nearmalloc" --version)" ]
check "install: the header is where it belongs" [ -f "$moved/include/near/malloc.h" ]
expect_nothing "install: the man pages came along" "$(for page in "$NEAR_SRC"/doc/man/*.[1-9]; do
	find "$moved/share/man" -name "$(basename "$page")" | grep -q . || echo "$page"
done)"
check "install: nearmalloc run finds the moved library" [ "$("$moved/bin/nearmalloc" run -- printenv LD_PRELOAD)" = "$libdir/libnearmalloc.so.0" ]

cp -r "$moved" "moved to"
check "install: nearmalloc run refuses a path that cannot be preloaded" bash -c \
	'out=$("$1" run true 2>&1); [ $? -eq 1 ] && [[ $out == *"takes no path with blanks"* ]]' - "moved to/bin/nearmalloc"
check "install: a report in spite of a comment at the end of the options" bash -c \
	'NEARMALLOC_CONF="rseq:off, # why" "$1" run --stats true 2>&1 | grep -q "mode    locked"' - "$moved/bin/nearmalloc"

# example NAME COMPILER SOURCE: as a shared, static and fully static program
example() {
	local name=$1 compile=$2 source=$3
	# shellcheck disable=SC2046
	{
		check "install: $name, shared, builds" $compile "$source" $(flags) -o "$name-shared" &&
			check "install: $name, shared, runs" env LD_LIBRARY_PATH="$libdir" "./$name-shared"
		check "install: $name, pkg-config --static, builds" $compile "$source" $(flags --static) -o "$name-private" &&
			check "install: $name, pkg-config --static, runs" env LD_LIBRARY_PATH="$libdir" "./$name-private"
		check "install: $name, our archive, builds" $compile "$source" -Wl,-Bstatic $(flags --static) -Wl,-Bdynamic -o "$name-archive" &&
			check "install: $name, our archive, runs" "./$name-archive"
		check "install: $name, fully static, builds" $compile "$source" -static $(flags --static) -o "$name-static" &&
			check "install: $name, fully static, runs" "./$name-static" &&
			check "install: $name, fully static, runs with numa:on" env NEARMALLOC_CONF=numa:on "./$name-static"
		check "install: $name, static PIE, builds" $compile "$source" -static-pie $(flags --static) -o "$name-static-pie" &&
			check "install: $name, static PIE, runs" "./$name-static-pie"
	}
	expect_nothing "install: $name, our archive, needs no library of ours" \
		"$(readelf -dW "$name-archive" | grep -E 'NEEDED.*(nearmalloc|numa|urcu)')"
}
example c "$CC -O1 -Wall -Wextra -Werror" "$example_c"
if command -v "${CXX%% *}" >/dev/null; then
	example cxx "$CXX -O1 -Wall -Wextra -Werror" "$example_cxx"
else
	skip "install: cxx" "no C++ compiler"
fi

# A program that never says malloc: libc's own calls must be served all the same.
cat >silent.c <<'EOF'
#include <near/malloc.h>
#include <string.h>
int main(void)
{
	char *copy = strdup("x");
	return !near_owns(copy);
}
EOF
# shellcheck disable=SC2046
check "install: a program without malloc builds" $CC silent.c -Wl,-Bstatic $(flags --static) -Wl,-Bdynamic -o silent &&
	check "install: a program without malloc gets ours through libc" ./silent

check "install: make uninstall" make -C "$NEAR_BUILD" -s uninstall DESTDIR="$PWD/stage"
expect_nothing "install: make uninstall leaves nothing" "$(find stage ! -type d)"
