/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* The less known names: each exists, comes from the library that malloc comes from, and works. */
#include <dlfcn.h>

#include "api.h"

/* An allocator that leaves one of these to libc mixes two heaps. */
static const char *const all_names[] = {
	"malloc",
	"free",
	"calloc",
	"realloc",
	"reallocarray",
	"posix_memalign",
	"aligned_alloc",
	"memalign",
	"valloc",
	"pvalloc",
	"cfree",
	"malloc_usable_size",
	"malloc_trim",
	"mallinfo",
	"mallinfo2",
	"malloc_info",
	"malloc_stats",
	"mallopt",
	"free_sized",
	"free_aligned_sized",
	"__libc_malloc",
	"__libc_free",
	"__libc_calloc",
	"__libc_realloc",
	"__libc_memalign",
	"__libc_valloc",
	"__libc_pvalloc",
	"__libc_cfree",
	"__libc_reallocarray",
	"__posix_memalign",
	"__libc_mallinfo",
	"__libc_mallopt",
	"_Znwm",
	"_Znam",
	"_ZnwmRKSt9nothrow_t",
	"_ZnamRKSt9nothrow_t",
	"_ZnwmSt11align_val_t",
	"_ZnamSt11align_val_t",
	"_ZnwmSt11align_val_tRKSt9nothrow_t",
	"_ZnamSt11align_val_tRKSt9nothrow_t",
	"_ZdlPv",
	"_ZdaPv",
	"_ZdlPvRKSt9nothrow_t",
	"_ZdaPvRKSt9nothrow_t",
	"_ZdlPvm",
	"_ZdaPvm",
	"_ZdlPvSt11align_val_t",
	"_ZdaPvSt11align_val_t",
	"_ZdlPvmSt11align_val_t",
	"_ZdaPvmSt11align_val_t",
	"_ZdlPvSt11align_val_tRKSt9nothrow_t",
	"_ZdaPvSt11align_val_tRKSt9nothrow_t",
};

static const char *home_of(const char *name)
{
	void *at = dlsym(RTLD_DEFAULT, name);
	Dl_info info;

	return at != NULL && dladdr(at, &info) != 0 ? info.dli_fname : "(nobody)";
}

/* Names that no libc exports under __libc_ are ours to leave out: only those that glibc has must be caught. */
static bool may_be_missing(const char *name)
{
	static const char *const optional[] = {"__libc_cfree", "__libc_reallocarray", "__posix_memalign",
					       "__libc_mallinfo", "__libc_mallopt"};
	for (size_t i = 0; i < sizeof(optional) / sizeof(optional[0]); i++) {
		if (strcmp(name, optional[i]) == 0)
			return dlsym(RTLD_DEFAULT, name) == NULL;
	}
	return false;
}

Test(names, all_from_one_library)
{
	const char *home = home_of("malloc");

	for (size_t i = 0; i < sizeof(all_names) / sizeof(all_names[0]); i++) {
		if (!may_be_missing(all_names[i]))
			cr_expect_str_eq(home_of(all_names[i]), home, "%s is in %s", all_names[i],
					 home_of(all_names[i]));
	}
}

Test(names, malloc_is_not_libcs)
{
	cr_expect_null(strstr(home_of("malloc"), "libc.so"));
}

Test(names, libc_twins)
{
	unsigned char *p = __libc_malloc(100);

	cr_assert_not_null(p);
	memset(p, 1, malloc_usable_size(p));
	p = __libc_realloc(p, 1000);
	cr_expect_eq(p[99], 1);
	free(p);
	p = __libc_calloc(10, 10);
	cr_expect_eq(p[99], 0);
	p = realloc(p, 1000);
	__libc_free(p);
	p = __libc_memalign(4096, 5);
	cr_expect(aligned_to(p, 4096));
	free(p);
	p = __libc_valloc(5);
	cr_expect(aligned_to(p, 4096));
	free(p);
	p = __libc_pvalloc(5);
	cr_expect(aligned_to(p, 4096));
	__libc_free(p);
	EXPECT_REFUSED(__libc_malloc(SIZE_MAX));
}

/* What a library function hands out must be ours as well: libc's own calls are bound to us too. */
Test(names, memory_from_libc_functions)
{
	char *copy = strdup("a string that libc allocates");
	char *line = NULL, *text = NULL;
	size_t size = 0;
	FILE *memory = open_memstream(&text, &size);

	cr_assert_not_null(memory);
	for (int i = 0; i < 5000; i++)
		fprintf(memory, "line %d\n", i);
	fclose(memory);
	cr_expect_geq(malloc_usable_size(copy), 29);
	cr_expect_geq(malloc_usable_size(text), size);
	copy = realloc(copy, 10000);
	cr_expect_eq(copy[0], 'a');
	free(copy);
	memory = fmemopen(text, size, "r");
	size = 0;
	cr_expect_gt(getline(&line, &size, memory), 0);
	fclose(memory);
	free(line);
	free(text);
	text = realpath("/", NULL);
	cr_expect_str_eq(text, "/");
	free(text);
	cr_expect_gt(asprintf(&text, "%0*d", 100000, 1), 0);
	free(text);
}

Test(cfree, frees)
{
	for (int i = 0; i < 100000; i++)
		cfree(malloc(1000));
	cfree(NULL);
}

Test(free_sized, frees_what_the_plain_functions_gave)
{
	EACH_SIZE(size, 4 * MIB)
	{
		void *p = malloc(size), *q = calloc(1, size);

		errno = 4711;
		free_sized(p, size);
		free_sized(q, size);
		cr_assert_eq(errno, 4711);
		p = realloc(malloc(3), size + 1);
		free_sized(p, size + 1);
	}
	free_sized(NULL, 0);
	free_sized(NULL, 100);
}

Test(free_sized, really_frees_and_does_not_mix_classes)
{
	enum { COUNT = 300 };
	unsigned char *p[COUNT];

	for (int round = 0; round < 300; round++) {
		for (int i = 0; i < COUNT; i++) {
			size_t size = (size_t)(i * 37 + round) % 3000;

			p[i] = malloc(size);
			memset(p[i], i, malloc_usable_size(p[i]));
		}
		for (int i = 0; i < COUNT; i++) {
			size_t usable = malloc_usable_size(p[i]);

			for (size_t k = 0; k < usable; k++)
				cr_assert_eq(p[i][k], (unsigned char)i);
			free_sized(p[i], (size_t)(i * 37 + round) % 3000);
		}
	}
}

Test(free_aligned_sized, frees_what_the_aligning_functions_gave)
{
	for (size_t alignment = 1; alignment <= 4 * MIB; alignment *= 2) {
		for (size_t size = 0; size < 3 * MIB; size = size * 3 + alignment) {
			void *p = aligned_alloc(alignment, size);

			cr_assert_not_null(p);
			errno = 4711;
			free_aligned_sized(p, alignment, size);
			cr_assert_eq(errno, 4711);
		}
	}
	free_aligned_sized(NULL, 16, 0);
	free_aligned_sized(NULL, 64, 100);
}

Test(malloc_usable_size, null_is_zero)
{
	cr_expect_eq(malloc_usable_size(NULL), 0);
}
