#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages:
#
# Each misuse ends with SIGABRT and exactly the line that it announced; what is allowed says nothing.
#   ok_*        must be allowed
#   ignored_*   must be allowed under foreign:ignore
. "$NEAR_SRC/test/lib.sh"
. "$NEAR_SRC/test/common/lib.sh"

# The status of the run, the one wanted; files `announced` and `said`.
judge_misuse() {
	local name="$1 ($mode)" status=$2
	if [ "$status" -ne "$3" ]; then
		not_ok "$name" "status $status, wanted $3" "announced: $(cat announced)" "stderr: $(last_words said)"
	elif [ "$(grep -v 'common/lib.sh: line' said)" != "$(cat announced)" ]; then
		not_ok "$name" "announced: $(cat announced)" "stderr: $(last_words said)"
	else
		ok "$name"
	fi
}

misuse() {
	local program name CONF wanted
	for program in "$NEAR_SRC"/test/misuse/*.c; do
		name=$(basename "$program" .c)
		case $name in
		ok_*) CONF='' wanted=0 ;;
		ignored_*) CONF=foreign:ignore wanted=0 ;;
		*) CONF='' wanted=134 ;;
		esac
		preloaded 20 "$BIN/misuse-$name" >announced 2>said
		judge_misuse "$name" $? $wanted
	done
}

each_mode misuse
