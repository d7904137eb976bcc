# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
#
# Libraries broken on purpose, for negative controls. To be sourced.
# shellcheck shell=bash disable=SC2046,SC2086

# broken_library OUT FILE SED: the shared library with src/FILE edited; 2 when the edit applies to nothing.
broken_library() {
	local out=$1 file=$2 object flags name
	name=$(basename "$file" .c)
	rm -rf broken && mkdir -p broken && cp -r "$NEAR_SRC/src" broken/src
	sed -i -E "$3" "broken/src/$file"
	! cmp -s "broken/src/$file" "$NEAR_SRC/src/$file" || return 2
	flags="-std=gnu11 -O2 -g -pthread -fPIC -DPIC -fvisibility=hidden -fno-strict-aliasing -ftls-model=initial-exec"
	flags+=" -fno-builtin-malloc -fno-builtin-calloc -fno-builtin-realloc -fno-builtin-free"
	$CC $flags -include "$NEAR_BUILD/config.h" -Ibroken/src -I"$NEAR_SRC/include" -c "broken/src/$file" -o "broken/$name.o" ||
		return
	object=$(find "$NEAR_BUILD/src/$(dirname "$file")" -path '*/.libs/*.o' -name "*$name.o")
	$CC -shared -pthread "-Wl,--version-script=$NEAR_SRC/src/abi/nearmalloc.map" -Wl,-Bsymbolic-functions -Wl,-z,nodelete \
		"broken/$name.o" $(find "$NEAR_BUILD/src" -path '*/.libs/*.o' ! -path "$object") $NEAR_STATIC_LIBS -o "$out"
}
