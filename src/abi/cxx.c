/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * The C++ operators new and delete, by their mangled names and without libstdc++: what they need of it are weak
 * references, resolved when the program brings it along.
 *
 * Sizes and alignments given to delete are not used: a program that gets them wrong works with libstdc++'s
 * operators, so it must work with these.
 */
#include "malloc/fast.h"
#include "os/os.h"

#define EXPORT	   __attribute__((visibility("default")))
#define HOT_EXPORT EXPORT HOT __attribute__((aligned(64)))
#define SAME(name) EXPORT ALIAS_OF(name)

typedef void new_handler(void);

extern new_handler *_ZSt15get_new_handlerv(void) WEAK;	   /* std::get_new_handler() */
extern _Noreturn void _ZSt17__throw_bad_allocv(void) WEAK; /* std::__throw_bad_alloc() */

/* Calls it; true when it threw, which ends there. In catch.S, since C cannot catch. */
bool near__catch(new_handler *handler);

static void *get(size_t size, size_t align)
{
	/* operator new, unlike aligned_alloc, may be asked for any alignment value; C++ makes others undefined. */
	if (!is_power_of_two(align))
		return near__enomem();
	return near__aligned(align, size, NODE_OF_CALLER);
}

/* [new.delete.single]: as long as there is a handler it is called and the allocation tried again. */
static COLD void *retry(size_t size, size_t align)
{
	for (;;) {
		new_handler *handler = _ZSt15get_new_handlerv ? _ZSt15get_new_handlerv() : NULL;
		void *block;

		if (!handler)
			break;
		handler();
		block = get(size, align);
		if (block)
			return block;
	}
	if (_ZSt17__throw_bad_allocv)
		_ZSt17__throw_bad_allocv();
	near__die("operator new(%lu): no memory, and no C++ library to throw std::bad_alloc", size);
}

static COLD void *retry_nothrow(size_t size, size_t align)
{
	for (;;) {
		new_handler *handler = _ZSt15get_new_handlerv ? _ZSt15get_new_handlerv() : NULL;
		void *block;

		if (!handler || near__catch(handler))
			return NULL;
		block = get(size, align);
		if (block)
			return block;
	}
}

HOT_EXPORT void *_Znwm(size_t size);
HOT_EXPORT void *_Znwm(size_t size)
{
	void *block = fast_malloc(size);

	return likely(block != NULL) ? block : retry(size, 16);
}

EXPORT void *_ZnwmSt11align_val_t(size_t size, size_t align);
EXPORT void *_ZnwmSt11align_val_t(size_t size, size_t align)
{
	void *block = get(size, align);

	return likely(block != NULL) ? block : retry(size, align);
}

EXPORT void *_ZnwmRKSt9nothrow_t(size_t size, const void *nothrow);
EXPORT void *_ZnwmRKSt9nothrow_t(size_t size, const void *nothrow)
{
	void *block = fast_malloc(size);

	(void)nothrow;
	return likely(block != NULL) ? block : retry_nothrow(size, 16);
}

EXPORT void *_ZnwmSt11align_val_tRKSt9nothrow_t(size_t size, size_t align, const void *nothrow);
EXPORT void *_ZnwmSt11align_val_tRKSt9nothrow_t(size_t size, size_t align, const void *nothrow)
{
	void *block = get(size, align);

	(void)nothrow;
	return likely(block != NULL) ? block : retry_nothrow(size, align);
}

HOT_EXPORT void _ZdlPv(void *ptr);
HOT_EXPORT void _ZdlPv(void *ptr)
{
	fast_free(ptr, "operator delete");
}

HOT_EXPORT void _ZdlPvm(void *ptr, size_t size);
HOT_EXPORT void _ZdlPvm(void *ptr, size_t size)
{
	(void)size;
	fast_free(ptr, "operator delete");
}

EXPORT void _ZdlPvSt11align_val_t(void *ptr, size_t align);
EXPORT void _ZdlPvSt11align_val_t(void *ptr, size_t align)
{
	(void)align;
	fast_free(ptr, "operator delete");
}

EXPORT void _ZdlPvRKSt9nothrow_t(void *ptr, const void *nothrow);
EXPORT void _ZdlPvRKSt9nothrow_t(void *ptr, const void *nothrow)
{
	(void)nothrow;
	fast_free(ptr, "operator delete");
}

EXPORT void _ZdlPvmSt11align_val_t(void *ptr, size_t size, size_t align);
EXPORT void _ZdlPvmSt11align_val_t(void *ptr, size_t size, size_t align)
{
	(void)size, (void)align;
	fast_free(ptr, "operator delete");
}

EXPORT void _ZdlPvSt11align_val_tRKSt9nothrow_t(void *ptr, size_t align, const void *nothrow);
EXPORT void _ZdlPvSt11align_val_tRKSt9nothrow_t(void *ptr, size_t align, const void *nothrow)
{
	(void)align, (void)nothrow;
	fast_free(ptr, "operator delete");
}

/* The arrays. */
SAME(_Znwm) void *_Znam(size_t size);
SAME(_ZnwmSt11align_val_t) void *_ZnamSt11align_val_t(size_t size, size_t align);
SAME(_ZnwmRKSt9nothrow_t) void *_ZnamRKSt9nothrow_t(size_t size, const void *nothrow);
SAME(_ZnwmSt11align_val_tRKSt9nothrow_t)
void *_ZnamSt11align_val_tRKSt9nothrow_t(size_t size, size_t align, const void *nothrow);
SAME(_ZdlPv) void _ZdaPv(void *ptr);
SAME(_ZdlPvm) void _ZdaPvm(void *ptr, size_t size);
SAME(_ZdlPvSt11align_val_t) void _ZdaPvSt11align_val_t(void *ptr, size_t align);
SAME(_ZdlPvRKSt9nothrow_t) void _ZdaPvRKSt9nothrow_t(void *ptr, const void *nothrow);
SAME(_ZdlPvmSt11align_val_t) void _ZdaPvmSt11align_val_t(void *ptr, size_t size, size_t align);
SAME(_ZdlPvSt11align_val_tRKSt9nothrow_t)
void _ZdaPvSt11align_val_tRKSt9nothrow_t(void *ptr, size_t align, const void *nothrow);
