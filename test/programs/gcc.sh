#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages: gcc g++ libc6-dev
# timeout: 240
#
# gcc and g++: a C file of 30,000 lines and a C++ file full of templates are
# compiled, assembled and linked; the assembly is byte for byte that made
# under glibc, and the programs print the same.

. "${0%/*}/lib.sh"
need gcc g++

# compile RUNNER COMPILER OPTIMIZATION SOURCE NAME: assembly, object, program
# in the current directory.
compile() {
	local as=$1 with=$2 level=$3 source=$4 name=$5

	"$as" "$with" "$level" -g -fdebug-prefix-map="$PWD=." -frandom-seed=1 -S -o "$name.s" "$source" 2>>"$name.log" &&
		"$as" "$with" -c -o "$name.o" "$name.s" 2>>"$name.log" &&
		"$as" "$with" -o "$name" "$name.o" 2>>"$name.log" &&
		"./$name" >"$name.out"
}

# identical NAME COMPILER OPTIMIZATION SOURCE
identical() {
	local file

	compile near "$2" "$3" "$4" "$1" || return 1
	for file in "$1.s" "$1.o" "$1.out"; do
		cmp "$tmp/glibc/$file" "$dir/$file" || return 1
	done
}

# The compiler proper, not only its driver, has the library.
compiler_in_use() {
	local job status

	launch "$1" -O2 -S -o /dev/null "$3" 2>>"$dir/in-use.log"
	job=$!
	seen "$job" "$2"
	status=$?
	kill "$job"
	wait "$job"
	return "$status"
}

# The linker with its plugin, and the link-time optimizer.
lto() {
	near gcc -O1 -flto -o "$dir/lto" "$tmp/small.c" "$tmp/main.c" 2>>"$dir/lto.log" && [[ $("$dir/lto") = 42 ]]
}

run() {
	check bound binds "$(gcc -print-prog-name=cc1)" --version
	check gcc-in-use compiler_in_use gcc cc1 "$tmp/big.c"
	check g++-in-use compiler_in_use g++ cc1plus "$tmp/big.cc"
	check gcc identical c gcc -O1 "$tmp/big.c"
	check g++ identical cxx g++ -O2 "$tmp/big.cc"
	check lto lto
}

sources=${0%/*}/../../bench/programs/gcc
"$sources" --source c >"$tmp/big.c" && "$sources" --source c++ >"$tmp/big.cc" || exit 2
echo 'int seven(int six) { return six * 7; }' >"$tmp/small.c"
printf '%s\n' '#include <stdio.h>' 'int seven(int);' 'int main(void) { printf("%d\n", seven(6)); }' >"$tmp/main.c"
mkdir "$tmp/glibc" && cd "$tmp/glibc" || exit 2
compile plain gcc -O1 "$tmp/big.c" c && compile plain g++ -O2 "$tmp/big.cc" cxx || exit 2
each_mode run
