#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages:
# timeout: 400
#
# Limits: of address space, data, locked memory, mappings.
. "$NEAR_SRC/test/lib.sh"
. "$NEAR_SRC/test/common/lib.sh"

# within MIB CASE: the address space was limited before the program began
within() {
	try "limits: $2 in $1 MiB" 60 bash -c 'ulimit -v $1; exec "$2" "$3" "$4"' - $(($1 * 1024)) "$BIN/limits" "$2" "$1"
}

limits() {
	local what mib
	for mib in 64 128; do
		within $mib address_space
	done
	within 64 threads_in_little
	for what in address_space_lowered data data_after_peak data_lowered mappings_end locked_memory locked_late \
		locked_memory_limit; do
		try "limits: $what" 60 "$BIN/limits" $what
	done
}

each_mode limits
