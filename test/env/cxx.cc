/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* What a C++ program expects of operator new: handlers, exceptions through our C frames, all the forms. */
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#define CHECK(condition)       \
	((condition) ? (void)0 \
		     : (fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition), abort()))

static volatile std::size_t huge = SIZE_MAX - 4096, beyond = std::size_t(1) << 62;
static int handler_calls;

struct handler_gave_up {
};

static void give_up()
{
	handler_calls++;
	throw handler_gave_up();
}

static void give_up_at_third()
{
	if (++handler_calls == 3)
		throw std::bad_alloc();
}

static void remove_itself()
{
	if (++handler_calls == 2)
		std::set_new_handler(nullptr);
}

template <typename Exception, typename Call> static bool throws(Call call)
{
	try {
		call();
	} catch (const Exception &) {
		return true;
	}
	return false;
}

template <typename Call> static void each_form(Call check)
{
	const std::align_val_t align{64};

	for (std::size_t size : {std::size_t(huge), std::size_t(beyond)}) {
		check([=] { ::operator delete(::operator new(size)); });
		check([=] { ::operator delete[](::operator new[](size)); });
		check([=] { ::operator delete(::operator new(size, align), align); });
		check([=] { ::operator delete[](::operator new[](size, align), align); });
	}
}

static void without_handler()
{
	each_form([](auto call) { CHECK(throws<std::bad_alloc>(call)); });
	CHECK(::operator new(huge, std::nothrow) == nullptr);
	CHECK(::operator new[](huge, std::nothrow) == nullptr);
	CHECK(::operator new (huge, std::align_val_t{4096}, std::nothrow) == nullptr);
	CHECK(::operator new[](huge, std::align_val_t{4096}, std::nothrow) == nullptr);
	CHECK(throws<std::bad_alloc>([] { std::vector<char>(std::size_t(1) << 62); }) ||
	      throws<std::length_error>([] { std::vector<char>(std::size_t(1) << 62); }));
}

static void with_handlers()
{
	std::set_new_handler(give_up);
	handler_calls = 0;
	each_form([](auto call) { CHECK(throws<handler_gave_up>(call)); });
	CHECK(handler_calls == 8);

	std::set_new_handler(give_up_at_third);
	handler_calls = 0;
	CHECK(throws<std::bad_alloc>([] { ::operator delete(::operator new(beyond)); }));
	CHECK(handler_calls == 3);

	/* nothrow: the handler is asked, what it throws becomes a null pointer */
	handler_calls = 0;
	CHECK(::operator new(beyond, std::nothrow) == nullptr);
	CHECK(handler_calls == 3);
	handler_calls = 0;
	CHECK(::operator new[](beyond, std::align_val_t{128}, std::nothrow) == nullptr);
	CHECK(handler_calls == 3);

	std::set_new_handler(remove_itself);
	handler_calls = 0;
	CHECK(throws<std::bad_alloc>([] { ::operator delete(::operator new(beyond)); }));
	CHECK(handler_calls == 2);
	CHECK(std::get_new_handler() == nullptr);
	std::set_new_handler(remove_itself);
	handler_calls = 0;
	CHECK(::operator new(beyond, std::nothrow) == nullptr);
	CHECK(handler_calls == 2);
}

/* The handler makes room; the same call then succeeds. */
static struct rlimit limit;

static void raise_limit()
{
	handler_calls++;
	setrlimit(RLIMIT_AS, &limit);
}

static void handler_that_helps()
{
	struct rlimit low;

	getrlimit(RLIMIT_AS, &limit);
	low = limit;
	low.rlim_cur = 1 << 20;
	std::set_new_handler(raise_limit);
	handler_calls = 0;
	setrlimit(RLIMIT_AS, &low);
	char *p = static_cast<char *>(::operator new(512u << 20));
	CHECK(p != nullptr && handler_calls == 1);
	p[(512u << 20) - 1] = 1;
	::operator delete(p);
	std::set_new_handler(nullptr);
}

struct alignas(256) aligned_thing {
	char bytes[300];
};

struct thing {
	virtual ~thing()
	{
	}
	char bytes[200];
};

static void ordinary_use()
{
	for (int i = 0; i < 20000; i++) {
		std::unique_ptr<aligned_thing> a(new aligned_thing);
		std::unique_ptr<aligned_thing[]> b(new aligned_thing[3]);
		std::unique_ptr<thing[]> c(new thing[static_cast<std::size_t>(i % 50)]);
		std::shared_ptr<thing> d = std::make_shared<thing>();
		CHECK(reinterpret_cast<std::uintptr_t>(a.get()) % 256 == 0);
		CHECK(reinterpret_cast<std::uintptr_t>(b.get()) % 256 == 0);
	}
	std::map<int, std::string> words;
	for (int i = 0; i < 20000; i++)
		words[i * 7919 % 10007] += std::string(static_cast<std::size_t>(i % 300), 'x');
	for (auto &word : words)
		CHECK(word.second.find_first_not_of('x') == std::string::npos);
	delete static_cast<thing *>(nullptr);
	delete[] static_cast<aligned_thing *>(nullptr);
}

static void sized_forms()
{
	for (std::size_t size = 0; size < 300000; size += 1 + size / 3) {
		void *p = ::operator new(size);
		errno = 4711;
		::operator delete(p, size);
		p = ::operator new[](size);
		::operator delete[](p, size);
		p = ::operator new (size, std::align_val_t{1024});
		CHECK(reinterpret_cast<std::uintptr_t>(p) % 1024 == 0);
		::operator delete (p, size, std::align_val_t{1024});
		p = ::operator new[](size, std::align_val_t{1024});
		::operator delete[](p, size, std::align_val_t{1024});
		CHECK(errno == 4711);
	}
	CHECK(malloc_usable_size(std::unique_ptr<char>(new char).get()) >= 1);
}

int main()
{
	without_handler();
	with_handlers();
	handler_that_helps();
	ordinary_use();
	sized_forms();
	std::thread([] { without_handler(); }).join();
	std::thread([] { ordinary_use(); }).join();
	return 0;
}
