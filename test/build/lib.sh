# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
#
# What the checks of the build share.
# shellcheck shell=bash

. "$NEAR_SRC/test/lib.sh"

# configured DIR [ARGUMENT]...: a build folder of its own, outside of the source.
configured() {
	local dir=$1
	shift
	mkdir -p "$dir" && (cd "$dir" && "$NEAR_SRC/configure" --quiet "$@")
}

built() {
	make -C "$1" -s -j2 "${@:2}"
}

# A configured source tree refuses builds elsewhere.
need_unconfigured_source() {
	[ ! -e "$NEAR_SRC/config.status" ] || {
		skip "$(basename "$0" .sh)" "the source tree is configured itself; make distclean there"
		exit 0
	}
}

# shellcheck disable=SC2034
# Small programs that fail unless malloc is ours.
example_c=$NEAR_SRC/doc/examples/grow.c example_cxx=$NEAR_SRC/doc/examples/new.cc
