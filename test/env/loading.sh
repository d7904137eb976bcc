#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages:
# timeout: 400
#
# dlopen, dlclose, dlmopen, and programs without the C++ library.
. "$NEAR_SRC/test/lib.sh"
. "$NEAR_SRC/test/common/lib.sh"

plugin=$BIN/plugin.so
[ -e "$plugin" ] || plugin=$BIN/.libs/plugin.so

loading() {
	try "plugins come and go" 60 "$BIN/loading" plugins "$plugin"
	try "plugins in namespaces of their own" 60 "$BIN/loading" namespaces "$plugin"
	try "a second copy of the allocator" 60 "$BIN/loading" second_copy "$NEAR_LIB"
	# env clears the preload for the program itself
	try "loaded by dlopen only" 60 env -u LD_PRELOAD "$BIN/loading" by_dlopen "$NEAR_LIB"
}

each_mode loading
