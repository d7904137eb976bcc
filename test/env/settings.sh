#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages: util-linux
#
# Options: from the program, from /etc/nearmalloc.conf and from the environment; mistakes in them.
. "$NEAR_SRC/test/lib.sh"

BIN=${NEAR_TEST_BIN:-$NEAR_BUILD/test/bin}

# with CONF COMMAND...: what it prints, and its status on the last line
with() {
	local conf=$1
	shift
	env NEARMALLOC_CONF="$conf" LD_PRELOAD="$NEAR_LIB" "$@" 2>&1
	echo "status $?"
}

# expect NAME CONF PATTERN...: each pattern is found in one line of what /bin/true prints
expect() {
	local name=$1 conf=$2 out pattern
	shift 2
	out=$(with "$conf" /bin/true 2>&1)
	for pattern; do
		if ! grep -qE -- "$pattern" <<<"$out"; then
			not_ok "$name" "no line like: $pattern" "$out"
			return
		fi
	done
	ok "$name"
}

# expect_only NAME CONF TEXT: that and nothing else
expect_only() {
	local out
	out=$(with "$2" /bin/true 2>&1)
	if [ "$out" = "$3" ]; then
		ok "$1"
	else
		not_ok "$1" "wanted: $3" "got: $out"
	fi
}

expect_only "silent without options" "" "status 0"
expect_only "silent with good options" "foreign:ignore,rseq:auto,numa:off,percpu_cache:512K,depot_cache:64M,extent_cache:1G" \
	"status 0"
expect_only "an unknown key is named, the program goes on" "foo:1" 'nearmalloc: NEARMALLOC_CONF: unknown key "foo"
status 0'
expect "a bad value is named, the program goes on" "foreign:x" \
	'^nearmalloc: NEARMALLOC_CONF: bad value "x" for foreign \(want abort\|ignore\)' "^status 0"
expect_only "one line for each mistake" "foo:1,bar:2" 'nearmalloc: NEARMALLOC_CONF: unknown key "foo"
nearmalloc: NEARMALLOC_CONF: unknown key "bar"
status 0'
for bad in rseq:maybe numa:7 percpu_cache:12Q percpu_cache: percpu_cache:-1 percpu_cache:99999999999999999999 \
	stats_print:perhaps depot_cache:K nodes:x nodes: nodes:3-1 nodes:99999 nodes:0,1x numa_strict:2 remote_free:away \
	decay_ms:1s; do
	expect "bad value of ${bad%%:*}: '${bad#*:}'" "$bad" "^nearmalloc: NEARMALLOC_CONF: bad value \"${bad#*:}\" for ${bad%%:*}" \
		"^status 0"
done
for odd in ":" "," "::" "foreign" ",,," "foreign:abort," "=" "$(printf 'x%.0s' {1..5000})" "$(printf 'foreign:abort,%.0s' {1..3000})"; do
	expect "an odd string does no harm: ${odd:0:20}" "$odd" "^status 0"
done
expect "abort_conf makes a mistake fatal" "abort_conf:true,foo:1" 'unknown key "foo"' "status 134"
expect "abort_conf behind the mistake, too" "foo:1,abort_conf:true" 'unknown key "foo"' "status 134"
expect "abort_conf without a mistake" "abort_conf:true,foreign:ignore" "status 0"
expect "confirm_conf tells values and where they came from" "confirm_conf:true,foreign:ignore" \
	"foreign.*ignore.*NEARMALLOC_CONF" "rseq.*auto" "status 0"
expect "the later wins" "confirm_conf:true,foreign:ignore,foreign:abort" "foreign.*abort.*NEARMALLOC_CONF"
expect "stats_print reports at exit" "stats_print:true" "rseq|locked"
expect "rseq:off is locked" "stats_print:true,rseq:off" "locked"
expect "sizes may have a unit" "confirm_conf:true,percpu_cache:2M" "percpu_cache.*(2M|2097152)"

out=$(with "" "$BIN/settings")
if grep -qE "foreign.*ignore.*near_conf" <<<"$out"; then
	ok "options linked into the program"
else
	not_ok "options linked into the program" "$out"
fi
out=$(with "foreign:abort" "$BIN/settings")
if grep -qE "foreign.*abort.*NEARMALLOC_CONF" <<<"$out" && grep -qE "percpu_cache.*near_conf" <<<"$out"; then
	ok "the environment wins, key by key"
else
	not_ok "the environment wins, key by key" "$out"
fi

if ! unshare -m true 2>/dev/null; then
	skip "/etc/nearmalloc.conf" "needs root for an /etc of its own"
	exit 0
fi

# from_file TEXT CONF COMMAND
from_file() {
	# shellcheck disable=SC2016
	unshare -m sh -c '
		mount --make-rprivate / && mount -t tmpfs none /etc && printf "$1" >/etc/nearmalloc.conf || exit 3
		NEARMALLOC_CONF=$2 LD_PRELOAD=$3 exec "$4"' - "$1" "$2" "$NEAR_LIB" "$3" 2>&1
	echo "status $?"
}

# file_gives NAME TEXT CONF COMMAND PATTERN...
file_gives() {
	local name=$1 out pattern
	out=$(from_file "$2" "$3" "$4")
	shift 4
	for pattern; do
		if ! grep -qE -- "$pattern" <<<"$out"; then
			not_ok "$name" "no line like: $pattern" "$out"
			return
		fi
	done
	ok "$name"
}

file_gives "/etc/nearmalloc.conf is read" 'confirm_conf:true,foreign:ignore\n' "" /bin/true \
	"foreign.*ignore.*/etc/nearmalloc.conf" "^status 0"
file_gives "the environment wins over the file" 'confirm_conf:true,foreign:ignore,percpu_cache:3M\n' foreign:abort /bin/true \
	"foreign.*abort.*NEARMALLOC_CONF" "percpu_cache.*/etc/nearmalloc.conf"
file_gives "the file wins over the program" 'foreign:abort\n' "" "$BIN/settings" "foreign.*abort.*/etc/nearmalloc.conf" \
	"percpu_cache.*near_conf"
file_gives "a mistake in the file names the file" 'foo:1\n' "" /bin/true \
	'^nearmalloc: /etc/nearmalloc.conf: unknown key "foo"' "^status 0"
file_gives "a file that is too long" "foreign:ignore\n#$(printf '%05000d' 0)\nforeign:abort\n" confirm_conf:true /bin/true \
	"^nearmalloc: /etc/nearmalloc.conf: longer than" "foreign.*ignore.*/etc/nearmalloc.conf"
file_gives "an empty file" '' "" /bin/true "^status 0"
file_gives "a file without a newline" 'confirm_conf:true,foreign:ignore' "" /bin/true "foreign.*ignore.*/etc/nearmalloc.conf"
