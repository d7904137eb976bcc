# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
#
# Variants of the shared library that are broken on purpose, for negative controls: its objects linked anew, some of its
# own calls sent elsewhere, or one source file edited. To be sourced after test/lib.sh.
# shellcheck shell=bash disable=SC2046,SC2086

# relinked OUT LEAVE-OUT [LD-ARGUMENT|OBJECT]...: all objects but LEAVE-OUT (a path below src/ without .c; or none).
relinked() {
	local out=$1 but=$2
	shift 2
	$CC -shared -pthread "-Wl,--version-script=$NEAR_SRC/src/abi/nearmalloc.map" -Wl,-Bsymbolic-functions \
		-Wl,-z,nodelete -Wl,-z,relro -Wl,-z,now "$@" \
		$(find "$NEAR_BUILD/src" -path '*/.libs/*.o' | grep -vF "/src/${but%/*}/.libs/${but##*/}.o") \
		$NEAR_STATIC_LIBS -o "$out"
}

# compiled FILE OBJECT: as the library's own are.
compiled() {
	$CC $(sed -n 's/^NEAR_CFLAGS = //p' "$NEAR_BUILD/Makefile" | sed 's/-fPIE//') -O2 -fPIC \
		-include "$NEAR_BUILD/config.h" -I"$NEAR_SRC/src" -I"$NEAR_SRC/include" -c "$1" -o "$2"
}

# library_where OUT FUNCTION DEFINITION: calls of FUNCTION from other files reach __wrap_FUNCTION, defined here.
library_where() {
	echo "$3" >wrapped.c
	compiled wrapped.c wrapped.o && relinked "$1" none "-Wl,--wrap=$2" wrapped.o
}

# library_edited OUT FILE SED: FILE stands below src/.
library_edited() {
	sed -E "$3" "$NEAR_SRC/src/$2" >edited.c
	! cmp -s edited.c "$NEAR_SRC/src/$2" || { echo "$2 has changed: the edit applies to nothing" && return 1; }
	compiled edited.c edited.o && relinked "$1" "${2%.c}" edited.o
}
