#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages: xz-utils
# timeout: 600
#
# make distcheck: the tarball builds from a read-only source, passes the unit and interface tests, installs,
# uninstalls and cleans up behind itself.
. "$NEAR_SRC/test/build/lib.sh"
need_unconfigured_source

check "distcheck: configures" configured build &&
	check "distcheck: passes" make -C build -s -j2 distcheck
