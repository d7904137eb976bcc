#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages: python3
# timeout: 600
#
# ./dev bench: a tiny run and its report, one that is interrupted and resumed, runs that fail or hang, the memory mode.
# NEAR_TEST_LONG=1 also opens the page in chromium, and runs every row of bench/*.c once.
# shellcheck disable=SC2153
. "$NEAR_SRC/test/lib.sh"
need_commands python3 make

python3 "$NEAR_SRC/test/bench/stats.py" "$NEAR_SRC/bench/lib"

check "bench: its programs are built" make -C "$NEAR_BUILD" -s bench-programs || exit

bench() {
	NEAR_BENCH_BIN=$NEAR_BUILD/bench "$NEAR_SRC/bench/run" "$@"
}

# count PATTERN FILE
count() {
	grep -cE -- "$1" "$2"
}

# The page must be well-formed, need nothing from elsewhere, and name all rows that were listed.
page_is_good() {
	python3 - "$1" "$2" <<-'PYTHON'
	import re, sys, xml.etree.ElementTree as tree
	page = "".join(tree.parse(sys.argv[1]).getroot().itertext())
	missing = [row for row in open(sys.argv[2]).read().splitlines() if row not in page]
	source = open(sys.argv[1]).read()
	outside = re.findall(r'(?:src|href)="(?!#)[^"]*"|url\([^)]*\)|@import', source)
	sys.exit(f"missing: {missing}, from elsewhere: {outside}" if missing or outside else 0)
	PYTHON
}

##
## A tiny run, and what is made of it
##
only='^packet_churn size=64 |^slab_latency'
mkdir run
check "bench: a tiny run" bench --only "$only" --peers glibc --rounds 2 --cpu 0 --output run/a.csv
bench --only "$only" --list >rows
check "bench: two rows are listed" [ "$(wc -l <rows)" -eq 2 ]
check "bench: all runs are recorded" [ "$(count ',load,' run/a.csv)" -eq 8 ]
check "bench: none failed" [ "$(count ',failed,' run/a.csv)" -eq 0 ]
for metric in seconds run_user_s run_sys_s run_wall_s run_peak_rss run_minor_faults run_involuntary_switches; do
	check "bench: $metric of each run" [ "$(count ",$metric,[0-9.e+]+,(lower|none)$" run/a.csv)" -eq 8 ]
done
for key in date cpu governor kernel "huge pages" "load at the start" nearmalloc glibc options; do
	check "bench: the head tells $key" grep -q "^# $key: ." run/a.csv
done
order=$(grep ',slab_latency,.*,load,' run/a.csv | sort -t, -k1,2n | cut -d, -f3 | uniq | wc -l)
check "bench: the order rotates" [ "$order" -eq 3 ]
check "bench: the page is good" page_is_good run/index.html rows
check "bench: the text has both rows" [ "$(count '^(packet_churn size=64|slab_latency).* glibc$' run/index.txt)" -eq 2 ]
mkdir again
check "bench: the report can be made anew" bench --report run/a.csv --output again/a.csv
check "bench: it is the same" cmp run/index.html again/index.html

##
## Interrupted and resumed
##
mkdir cut
total=$(wc -l <run/a.csv)
head -n $((total - 20)) run/a.csv >cut/a.csv
printf '1,0,glibc,slab' >>cut/a.csv
kept=$(count ',load,' cut/a.csv)
check "bench: an interrupted run is resumed" bench --resume cut/a.csv
check "bench: all runs are there, once each" [ "$(count ',load,' cut/a.csv)" -eq 8 -a "$kept" -lt 8 ]
check "bench: what was there stays" cmp <(grep ',load,' run/a.csv | head -n "$kept") <(grep ',load,' cut/a.csv | head -n "$kept")
check "bench: the head tells of it" grep -q '^# resumed: .*load' cut/a.csv
sed 's/^\(# nearmalloc: .*sha256 \).*/\10123456789abcdef/' run/a.csv >cut/b.csv
check "bench: not with another library" grep -q 'another build' <(bench --resume cut/b.csv 2>&1)

NEAR_BENCH_BIN=$NEAR_BUILD/bench "$NEAR_SRC/bench/run" --only '^slab_latency' --peers glibc --rounds 500 \
	--output cut/c.csv >log 2>&1 &
job=$!
for ((tries = 0; tries < 300; tries++)); do
	[ "$(count ',load,' cut/c.csv 2>/dev/null)0" -lt 30 ] || break
	sleep 0.1
done
kill "$job"
wait "$job"
check "bench: ends when it is told to" [ $? -eq 130 ]
check "bench: says how to go on" grep -q -- '--resume .*c.csv' log
check "bench: leaves whole runs" [ "$(tail -n 1 cut/c.csv | cut -d, -f6)" = load ]

##
## Runs that fail are recorded and shown
##
cat >broken.c <<'C'
#include <errno.h>
#include <string.h>
#include <unistd.h>

__attribute__((constructor)) static void break_some(void)
{
	if (!strcmp(program_invocation_short_name, "packet_churn"))
		_exit(write(2, "broken\n", 7) == 7 ? 3 : 4);
	while (!strcmp(program_invocation_short_name, "slab_latency"))
		pause();
}
C
check "bench: a broken allocator is built" "$CC" -D_GNU_SOURCE -shared -fPIC -o broken.so broken.c
mkdir bad
check "bench: goes on after failures" \
	bench --only "$only" --peers glibc --peer broken=broken.so --rounds 1 --timeout 4 --output bad/a.csv
check "bench: the status is recorded" grep -q '^0,[0-2],broken,packet_churn,.*,failed,exit 3: broken,none$' bad/a.csv
check "bench: so is a time-out" grep -q '^0,[0-2],broken,slab_latency,,failed,timed out after 4' bad/a.csv
check "bench: the others are measured" [ "$(count ',seconds,' bad/a.csv)" -eq 4 ]
check "bench: the table shows them" [ "$(count '^(packet_churn|slab_latency).*FAILED' bad/index.txt)" -eq 2 ]
check "bench: the text tells why" [ "$(count '^FAILED: .*broken.*(exit 3|timed out)' bad/index.txt)" -eq 2 ]
check "bench: the page tells why" grep -q 'class="failed" title="exit 3: broken"' bad/index.html
check "bench: an allocator that cannot be loaded is refused" \
	grep -q 'cannot be preloaded' <(bench --peers glibc --peer "x=$NEAR_SRC/README" 2>&1)
check "bench: nothing to run is an error" [ "$(bench --only nonsense --list >/dev/null 2>&1; echo $?)" = 1 ]

##
## Memory
##
mkdir mem
check "bench: --memory" \
	bench --memory --settle 0.3 --only '^small_million|^kv_store' --peers glibc --rounds 1 --output mem/m.csv
check "bench: memory at rest is recorded" [ "$(count ',settled_rss,' mem/m.csv)" -eq 4 ]
figures=$(count '^\| (small_million|kv_store) \|( [0-9.M]+ \|){3} glibc \|$' mem/index.txt)
check "bench: the table is markdown" [ "$figures" -eq 12 ]
check "bench: both kinds on one page" bench --report run/a.csv mem/m.csv --output again/a.csv
printf '%s\n' kv_store small_million >>rows
check "bench: the page has both" page_is_good again/index.html rows
check "bench: memory over time is drawn" grep -q 'aria-label="memory over time, kv_store"' again/index.html

##
## The long form
##
if [ "${NEAR_TEST_LONG:-}" != 1 ]; then
	exit 0
fi
mkdir all
programs=$(cd "$NEAR_SRC/bench" && printf '%s|' *.c)
check "bench: every row runs" bench --only "^(${programs//.c/}-) " --peers glibc --rounds 1 --output all/a.csv
expect_nothing "bench: no row fails" "$(grep ',failed,' all/a.csv)"
if ! command -v chromium >/dev/null; then
	skip "bench: the page in a browser" "chromium is not installed"
	exit 0
fi
browser=(timeout 100 chromium --headless --no-sandbox --user-data-dir="$PWD/profile" --disable-gpu --no-first-run
	--disable-background-networking --disable-component-update --disable-sync)
check "bench: the browser shows the page" \
	"${browser[@]}" --window-size=1300,3000 --screenshot="$PWD/page.png" "file://$PWD/all/index.html"
check "bench: something is to be seen" [ "$(stat -c %s page.png)" -gt 50000 ]
check "bench: with its drawings" [ "$("${browser[@]}" --dump-dom "file://$PWD/all/index.html" 2>/dev/null | grep -o '<svg ' | wc -l)" -gt 100 ]
