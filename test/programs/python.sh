#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages: python3.11 libpython3.11-testsuite
# timeout: 420
#
# CPython: its own tests of threads, subprocesses, multiprocessing by fork,
# input and output, JSON and garbage collection, with every object from
# malloc. What fails under glibc too is the environment's fault: a skip.

. "${0%/*}/lib.sh"
python=/usr/bin/python3.11
need "$python"

export PYTHONMALLOC=malloc PYTHONDONTWRITEBYTECODE=1
limit=200

# The two lanes that fill two processors for about the same time.
slow='test_multiprocessing_fork'
quick='test_gc test_json test_threading test_subprocess test_io'

# Words that run one of CPython's test modules in a directory of its own.
suite() {
	words=("$python" -m test --timeout 120 --tempdir "$PWD/$1.tmp" "$1")
	mkdir -p "$PWD/$1.tmp"
}

# The tests that a log calls failed, one per line.
failures() {
	grep -E '^(FAIL|ERROR): ' "$1" | sort -u
}

# verdict MODULE STATUS: ok, or a skip if glibc fails the same tests.
verdict() {
	local log=$dir/$1.log fails

	if [[ $2 = 0 ]] && grep -q '^Tests result: SUCCESS$' "$log"; then
		ok "$1"
		return
	fi
	fails=$(failures "$log")
	mkdir -p "$tmp/glibc" && cd "$tmp/glibc" || exit 2
	suite "$1"
	[[ -f $1.txt ]] || plain "${words[@]}" >"$1.txt" 2>&1
	cd "$dir" || exit 2
	if [[ $fails && -z $(comm -23 <(echo "$fails") <(failures "$tmp/glibc/$1.txt")) ]]; then
		skip "$1" "fails under glibc alone too: ${fails//$'\n'/; }"
	else
		not_ok "$1"
		grep -nE '^(FAIL|ERROR): |nearmalloc:|Fatal Python error|Aborted|Segmentation' "$log" | head -n 40 | sed 's/^/  /'
		tail -n 60 "$log" | sed 's/^/  /'
	fi
}

# An interpreter, its forked child and a subprocess all have the library.
in_use_everywhere() {
	near "$python" -c "
import multiprocessing as mp, subprocess, sys
look = 'import sys; sys.exit(\" $near\" not in open(\"/proc/self/maps\").read())'
def child():
    exec(look)
exec(look.replace('sys.exit(', 'assert not ('))
worker = mp.get_context('fork').Process(target=child)
worker.start()
worker.join()
assert worker.exitcode == 0
assert subprocess.call([sys.executable, '-c', look]) == 0
"
}

run() {
	local module job lane

	check bound binds "$python" -c 'import ctypes, json'
	check in-use in_use_everywhere

	suite "$slow"
	launch "${words[@]}" >"$dir/$slow.log" 2>&1
	lane=$!
	for module in $quick; do
		suite "$module"
		launch "${words[@]}" >"$dir/$module.log" 2>&1
		job=$!
		[[ $module = test_json ]] || check "$module-in-use" seen "$job" python3.11
		wait "$job"
		verdict "$module" $?
	done
	wait "$lane"
	verdict "$slow" $?
}

"$python" -c 'import test.test_gc' 2>/dev/null || python=libpython3.11-testsuite
need "$python"
each_mode run
