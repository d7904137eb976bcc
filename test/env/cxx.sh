#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages: g++
#
# A C++ program: new handlers, exceptions through the allocator, every form of new and delete.
. "$NEAR_SRC/test/lib.sh"
. "$NEAR_SRC/test/common/modes.sh"

cxx() {
	try "C++ operators" 60 "$BIN/cxx"
}

each_mode cxx
