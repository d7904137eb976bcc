#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages: g++
#
# A C++ program: new handlers, exceptions through the allocator, every form of new and delete.
. "$NEAR_SRC/test/lib.sh"
. "$NEAR_SRC/test/common/lib.sh"
need_commands "$CXX"

cxx() {
	try "C++ operators" 60 ./cxx
}

check "the C++ program compiles" "$CXX" -std=c++17 -O1 -g -fno-builtin -pthread -Wall -Wextra -Wno-alloc-size-larger-than \
	-Wno-unused-result "$NEAR_SRC/test/env/cxx.cc" -o cxx && each_mode cxx
exit 0
