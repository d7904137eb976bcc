/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Names that the C library's headers do not declare. All are weak, so that the tests also run under allocators
 * that lack them; a test that is about the name itself checks that it is there.
 */
#ifndef NEAR_TEST_NAMES_H
#define NEAR_TEST_NAMES_H

#include <malloc.h>
#include <stddef.h>

#define WEAK __attribute__((weak))

/* There only under nearmalloc. Others leave pvalloc and cfree to libc, whose blocks they cannot free. */
extern const char *near_version(void) WEAK;

extern void free_sized(void *ptr, size_t size) WEAK;
extern void free_aligned_sized(void *ptr, size_t alignment, size_t size) WEAK;
extern void cfree(void *ptr) WEAK;

extern void *__libc_malloc(size_t size) WEAK;
extern void __libc_free(void *ptr) WEAK;
extern void *__libc_calloc(size_t count, size_t size) WEAK;
extern void *__libc_realloc(void *ptr, size_t size) WEAK;
extern void *__libc_memalign(size_t alignment, size_t size) WEAK;
extern void *__libc_valloc(size_t size) WEAK;
extern void *__libc_pvalloc(size_t size) WEAK;
extern int __posix_memalign(void **out, size_t alignment, size_t size) WEAK;

/* The C++ operators, by their mangled names: a C program can call them too. */
struct nothrow;
#define CXX(name, symbol) name __asm__(#symbol)
extern void *CXX(cxx_new(size_t), _Znwm) WEAK;
extern void *CXX(cxx_new_array(size_t), _Znam) WEAK;
extern void *CXX(cxx_new_nothrow(size_t, const struct nothrow *), _ZnwmRKSt9nothrow_t) WEAK;
extern void *CXX(cxx_new_array_nothrow(size_t, const struct nothrow *), _ZnamRKSt9nothrow_t) WEAK;
extern void *CXX(cxx_new_aligned(size_t, size_t), _ZnwmSt11align_val_t) WEAK;
extern void *CXX(cxx_new_array_aligned(size_t, size_t), _ZnamSt11align_val_t) WEAK;
extern void *CXX(cxx_new_aligned_nothrow(size_t, size_t, const struct nothrow *),
		 _ZnwmSt11align_val_tRKSt9nothrow_t) WEAK;
extern void *CXX(cxx_new_array_aligned_nothrow(size_t, size_t, const struct nothrow *),
		 _ZnamSt11align_val_tRKSt9nothrow_t) WEAK;
extern void CXX(cxx_delete(void *), _ZdlPv) WEAK;
extern void CXX(cxx_delete_array(void *), _ZdaPv) WEAK;
extern void CXX(cxx_delete_nothrow(void *, const struct nothrow *), _ZdlPvRKSt9nothrow_t) WEAK;
extern void CXX(cxx_delete_array_nothrow(void *, const struct nothrow *), _ZdaPvRKSt9nothrow_t) WEAK;
extern void CXX(cxx_delete_sized(void *, size_t), _ZdlPvm) WEAK;
extern void CXX(cxx_delete_array_sized(void *, size_t), _ZdaPvm) WEAK;
extern void CXX(cxx_delete_aligned(void *, size_t), _ZdlPvSt11align_val_t) WEAK;
extern void CXX(cxx_delete_array_aligned(void *, size_t), _ZdaPvSt11align_val_t) WEAK;
extern void CXX(cxx_delete_sized_aligned(void *, size_t, size_t), _ZdlPvmSt11align_val_t) WEAK;
extern void CXX(cxx_delete_array_sized_aligned(void *, size_t, size_t), _ZdaPvmSt11align_val_t) WEAK;
extern void CXX(cxx_delete_aligned_nothrow(void *, size_t, const struct nothrow *),
		_ZdlPvSt11align_val_tRKSt9nothrow_t) WEAK;
extern void CXX(cxx_delete_array_aligned_nothrow(void *, size_t, const struct nothrow *),
		_ZdaPvSt11align_val_tRKSt9nothrow_t) WEAK;

#endif
