#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages: git
# timeout: 150
#
# git: a repository of some thousand objects is imported, packed aggressively
# by several threads, cloned, merged and checked; ids and history are those
# that git finds under glibc.

. "${0%/*}/lib.sh"
need git

export HOME=$tmp GIT_CONFIG_NOSYSTEM=1 GIT_TERMINAL_PROMPT=0
git config --global user.name tester
git config --global user.email tester@localhost
git config --global gc.auto 0
git config --global pack.threads 4
git config --global init.defaultBranch main

# A history for git fast-import: 500 commits by turns on two branches, each
# changing a few lines of a few of 150 files in 12 directories.
history() {
	awk '
	function dice(n) { seed = (seed * 16807) % 2147483647; return seed % n }
	function word() { return substr("alphabetagammadeltaepsilonzetaetathetaiotakappalambda", 1 + dice(45), 2 + dice(7)) }
	function line(  s, i) { for (i = dice(9); i >= 0; i--) s = s word() " "; return s }
	function body(file,  s, i) { for (i = 0; i < lines[file]; i++) s = s text[file, i] "\n"; return s }
	function change(file,  i) {
		if (!(file in lines)) {
			lines[file] = 60 + dice(500)
			for (i = 0; i < lines[file]; i++) text[file, i] = line()
		}
		for (i = 0; i < 5; i++) text[file, dice(lines[file])] = line()
		text[file, lines[file]++] = line()
	}
	BEGIN {
		seed = 42
		for (c = 1; c <= 500; c++) {
			branch = (c > 100 && c % 3 == 0) ? "topic" : "main"
			printf "commit refs/heads/%s\nmark :%d\n", branch, c
			printf "committer tester <tester@localhost> %d +0000\n", 1600000000 + 600 * c
			message = "Change " c "\n\n" line() "\n"
			printf "data %d\n%s", length(message), message
			if (branch == "topic" && !begun++) print "from :100"
			for (f = 0; f < 4; f++) {
				file = dice(75) + (branch == "topic" ? 75 : 0)
				change(file)
				s = body(file)
				printf "M 100644 inline d%d/file%d.txt\ndata %d\n%s\n", file % 12, file, length(s), s
			}
		}
		print "done"
	}'
}

# What can be said of a repository without naming packs or dates.
describe() {
	git -C "$1" log --all --date-order --format='%H %T %s' &&
		git -C "$1" log --all --date-order -p -M --stat | sha256sum &&
		git -C "$1" rev-list --all --objects | cut -d' ' -f1 | sort | sha256sum
}

import() {
	near git init -q --bare "$dir/r.git" && near git -C "$dir/r.git" fast-import --quiet --done <"$tmp/history"
} 2>>"$dir/import.log"

# In here git runs in the directory, where seen looks for it.
gc() {
	local job

	cd "$dir/r.git" || return 1
	launch git gc -q --aggressive --prune=now 2>>"$dir/gc.log"
	job=$!
	seen "$job" git
	mapped=$?
	wait "$job" && [[ $(git count-objects -v | sed -n 's/^count: //p') = 0 ]]
}

fsck() {
	near git -C "$dir/r.git" fsck --full --strict --no-progress 2>>"$dir/fsck.log" &&
		plain git -C "$dir/r.git" fsck --full --strict --no-progress
}

same_history() {
	near bash -c "$(declare -f describe); describe '$dir/r.git'" >"$dir/described" 2>"$dir/log.log" &&
		cmp "$tmp/expected" "$dir/described"
}

# Clone over the pack protocol, merge, blame, grep, repack.
clone() {
	near git clone -q --no-local "file://$dir/r.git" "$dir/work" &&
		cd "$dir/work" &&
		near git merge -q -m merged origin/topic &&
		[[ $(near git ls-files | wc -l) = $(find . -name '*.txt' | wc -l) ]] &&
		[[ $(near git blame --line-porcelain d1/file1.txt | grep -c '^author ') = $(wc -l <d1/file1.txt) ]] &&
		near git grep -q 'delta' &&
		near git repack -q -a -d -f --depth=20 --window=20 &&
		near git fsck --full --strict --no-progress &&
		[[ -z $(git status --porcelain) ]]
} 2>>"$dir/clone.log"

run() {
	mapped=1
	check bound binds git --version
	check import import || return
	check gc-aggressive gc
	check in-use test "$mapped" = 0
	check fsck fsck
	check same-history same_history
	check clone-merge-repack clone
}

history >"$tmp/history"
git init -q --bare "$tmp/expected.git" && git -C "$tmp/expected.git" fast-import --quiet --done <"$tmp/history" || exit 2
describe "$tmp/expected.git" >"$tmp/expected" || exit 2
each_mode run
