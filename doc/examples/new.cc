/* SPDX-License-Identifier: MIT */
/*
 * C++ needs nothing but the library: its operators new and delete end here too.
 *
 *	c++ new.cc $(pkg-config --cflags --libs nearmalloc)
 */
#include <near/malloc.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <vector>

struct alignas(256) Line {
	char bytes[256];
};

static bool owned(void *block, void (*release)(void *))
{
	bool ours = near_owns(block);

	release(block);
	return ours;
}

int main()
{
	if (!owned(malloc(1), free) || !owned(::operator new(1), ::operator delete)) {
		std::fputs("malloc or new is not nearmalloc's here\n", stderr);
		return 1;
	}

	auto line = std::make_unique<Line>();
	if (!near_owns(line.get()) || reinterpret_cast<std::uintptr_t>(line.get()) % alignof(Line))
		return 1;

	std::map<std::string, std::vector<int>> index;
	for (int i = 0; i < 10000; i++)
		index["a rather long key, number " + std::to_string(i % 100)].push_back(i);

	try {
		std::vector<char> impossible(static_cast<std::size_t>(PTRDIFF_MAX));
		return 1;
	} catch (const std::bad_alloc &) {
	}
	std::printf("nearmalloc %s: %zu keys\n", near_version(), index.size());
	return 0;
}
