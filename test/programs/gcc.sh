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

# Many functions with loops, switches, structs and calls, and a main that
# adds up what they return.
big_c() {
	awk 'BEGIN {
		functions = 890
		print "#include <stdio.h>\n#include <string.h>"
		print "struct node {\n\tstruct node *next;\n\tlong value;\n\tchar name[24];\n};"
		for (f = 0; f < functions; f++) {
			printf "\nstatic long work_%d(long a, long b)\n{\n", f
			printf "\tstatic const int table[] = { %d, %d, %d, %d };\n", f % 7, f % 11 + 1, f % 13, f % 17 + 3
			printf "\tstruct node nodes[%d] = { { 0 } };\n\tlong sum = a * %d;\n", 2 + f % 5, f + 1
			printf "\tfor (int i = 0; i < %d; i++) {\n", 2 + f % 5
			printf "\t\tnodes[i].value = (a + i) ^ (b << %d);\n\t\tnodes[i].name[i] = (char)(i + %d);\n", f % 5, f % 60
			print "\t\tnodes[i].next = i ? &nodes[i - 1] : NULL;\n\t\tsum += nodes[i].value + table[i & 3];\n\t}"
			print "\tswitch ((unsigned long)sum % 6) {"
			for (c = 0; c < 5; c++)
				printf "\tcase %d:\n\t\tsum = sum * %d + (long)strlen(\"%*s\");\n\t\tbreak;\n", c, 2 * c + f % 9, c + f % 30, "x"
			print "\tdefault:\n\t\tsum ^= b;\n\t}"
			if (f > 3)
				printf "\treturn sum + (b > 0 ? work_%d(sum & 255, b - 1) : 0);\n}\n", f - 1 - f % 3
			else
				print "\treturn sum;\n}"
		}
		print "\nint main(void)\n{\n\tlong sum = 0;\n"
		for (f = 0; f < functions; f++) printf "\tsum += work_%d(%d, 3);\n", f, f
		print "\tprintf(\"%ld\\n\", sum);\n\treturn 0;\n}"
	}'
}

big_cxx() {
	cat <<-'CXX'
	#include <algorithm>
	#include <functional>
	#include <iostream>
	#include <map>
	#include <memory>
	#include <numeric>
	#include <regex>
	#include <string>
	#include <tuple>
	#include <unordered_map>
	#include <variant>
	#include <vector>

	template <int N> struct fib { static constexpr long value = fib<N - 1>::value + fib<N - 2>::value; };
	template <> struct fib<1> { static constexpr long value = 1; };
	template <> struct fib<0> { static constexpr long value = 0; };

	template <int N> struct tag {
		int v = N;
		bool operator<(const tag &o) const { return v < o.v; }
	};

	template <int N> long store()
	{
		std::map<tag<N>, std::vector<std::tuple<int, std::string>>> m;
		std::unordered_map<std::string, std::shared_ptr<tag<N>>> u;
		std::variant<tag<N>, std::string, std::vector<tag<N>>> v = std::string(N, 'x');
		std::function<long(int)> f = [&](int i) { return i + long(m.size() + u.size()); };

		for (int i = 0; i < N; i++) {
			m[tag<N>{i % 7}].emplace_back(i, std::to_string(i));
			u.emplace(std::to_string(i * N), std::make_shared<tag<N>>());
		}
		long sum = std::visit([](const auto &x) { return long(sizeof x); }, v);
		for (auto &[key, list] : m) {
			std::sort(list.begin(), list.end(), [](auto &a, auto &b) { return std::get<1>(a) < std::get<1>(b); });
			sum += key.v + std::accumulate(list.begin(), list.end(), 0L, [](long s, auto &t) { return s * 3 + std::get<0>(t); });
		}
		return sum + f(N);
	}

	template <int... N> long all(std::integer_sequence<int, N...>) { return (store<N + 1>() + ... + 0L); }

	int main()
	{
		std::regex word("([a-z]+)=([0-9]+)");
		std::string text = "alpha=1 beta=22 gamma=333";
		for (std::sregex_iterator i(text.begin(), text.end(), word), end; i != end; ++i)
			std::cout << (*i)[1] << ' ' << (*i)[2] << '\n';
		std::cout << fib<80>::value << ' ' << all(std::make_integer_sequence<int, 8>()) << '\n';
	}
	CXX
}

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

big_c >"$tmp/big.c"
big_cxx >"$tmp/big.cc"
echo 'int seven(int six) { return six * 7; }' >"$tmp/small.c"
printf '%s\n' '#include <stdio.h>' 'int seven(int);' 'int main(void) { printf("%d\n", seven(6)); }' >"$tmp/main.c"
mkdir "$tmp/glibc" && cd "$tmp/glibc" || exit 2
compile plain gcc -O1 "$tmp/big.c" c && compile plain g++ -O2 "$tmp/big.cc" cxx || exit 2
each_mode run
