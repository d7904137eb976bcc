/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* The C++ operators called by their mangled names from C, in a process without libstdc++. */
#include <dlfcn.h>
#include <signal.h>

#include "api.h"

Test(operators, this_program_has_no_libstdcxx)
{
	cr_expect_null(dlsym(RTLD_DEFAULT, "_ZSt15get_new_handlerv"));
}

Test(operators, plain_and_sized)
{
	EACH_SIZE(size, 300 * KIB)
	{
		unsigned char *p = cxx_new(size), *q = cxx_new_array(size);

		cr_assert(p != NULL && q != NULL && p != q);
		cr_assert(aligned_to(p, 16) && aligned_to(q, 16));
		memset(p, 1, malloc_usable_size(p));
		memset(q, 2, malloc_usable_size(q));
		errno = 4711;
		cxx_delete_sized(p, size);
		cxx_delete_array_sized(q, size);
		p = cxx_new(size);
		q = cxx_new_array(size);
		cxx_delete(p);
		cxx_delete_array(q);
		p = cxx_new_nothrow(size, NULL);
		q = cxx_new_array_nothrow(size, NULL);
		cr_assert(p != NULL && q != NULL);
		cxx_delete_nothrow(p, NULL);
		cxx_delete_array_nothrow(q, NULL);
		cr_assert_eq(errno, 4711);
	}
}

Test(operators, aligned)
{
	for (size_t alignment = 1; alignment <= 4 * MIB; alignment *= 2) {
		for (size_t size = 0; size < 600 * KIB; size = size * 5 + 24) {
			void *p = cxx_new_aligned(size, alignment),
			     *q = cxx_new_array_aligned(size, alignment);

			cr_assert(p != NULL && q != NULL && p != q);
			cr_assert(aligned_to(p, alignment) && aligned_to(q, alignment));
			cxx_delete_aligned(p, alignment);
			cxx_delete_array_aligned(q, alignment);
			p = cxx_new_aligned(size, alignment);
			q = cxx_new_array_aligned(size, alignment);
			cxx_delete_sized_aligned(p, size, alignment);
			cxx_delete_array_sized_aligned(q, size, alignment);
			p = cxx_new_aligned_nothrow(size, alignment, NULL);
			q = cxx_new_array_aligned_nothrow(size, alignment, NULL);
			cr_assert(aligned_to(p, alignment) && aligned_to(q, alignment));
			cxx_delete_aligned_nothrow(p, alignment, NULL);
			cxx_delete_array_aligned_nothrow(q, alignment, NULL);
		}
	}
}

Test(operators, delete_of_null)
{
	cxx_delete(NULL);
	cxx_delete_array(NULL);
	cxx_delete_nothrow(NULL, NULL);
	cxx_delete_array_nothrow(NULL, NULL);
	cxx_delete_sized(NULL, 8);
	cxx_delete_array_sized(NULL, 0);
	cxx_delete_aligned(NULL, 64);
	cxx_delete_array_aligned(NULL, 64);
	cxx_delete_sized_aligned(NULL, 8, 64);
	cxx_delete_array_sized_aligned(NULL, 8, 64);
	cxx_delete_aligned_nothrow(NULL, 64, NULL);
	cxx_delete_array_aligned_nothrow(NULL, 64, NULL);
}

Test(operators, nothrow_gives_null)
{
	for (size_t i = 0; i < IMPOSSIBLE; i++) {
		EXPECT_REFUSED(cxx_new_nothrow(impossible[i], NULL));
		EXPECT_REFUSED(cxx_new_array_nothrow(impossible[i], NULL));
		EXPECT_REFUSED(cxx_new_aligned_nothrow(impossible[i], 64, NULL));
		EXPECT_REFUSED(cxx_new_array_aligned_nothrow(impossible[i], 64, NULL));
	}
}

/* Nobody is there to throw: the program ends, it does not go on with a null pointer. */
Test(operators, plain_new_without_libstdcxx_ends_the_program, .signal = SIGABRT)
{
	opaque(cxx_new(SIZE_MAX - 100));
}
