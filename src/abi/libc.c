/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Every name that libc exports around malloc, so that none slips past to glibc's own heap. One object, because in a
 * static program these names come all from here or all from libc.
 */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/conf.h"
#include "keep/trim.h"
#include "malloc/fast.h"
#include "os/os.h"
#include "watch/stats.h"

#define EXPORT	   __attribute__((visibility("default")))
#define TWIN(name) EXPORT ALIAS_OF(name)
#define HOT_EXPORT EXPORT HOT __attribute__((aligned(64)))

/* ---- C --------------------------------------------------------------------------------------------- */

HOT_EXPORT void *malloc(size_t size)
{
	return fast_malloc(size);
}

HOT_EXPORT void free(void *ptr)
{
	fast_free(ptr, "free");
}

EXPORT void *calloc(size_t count, size_t size)
{
	return near__calloc(count, size, NODE_OF_CALLER);
}

EXPORT void *realloc(void *ptr, size_t size)
{
	return near__realloc(ptr, size, NODE_OF_CALLER, "realloc");
}

EXPORT void *aligned_alloc(size_t align, size_t size)
{
	if (!is_power_of_two(align)) {
		errno = EINVAL;
		return NULL;
	}
	return near__aligned(align, size, NODE_OF_CALLER);
}

/* C23: the size, and the alignment, are those of the request. They are not needed and not trusted. */
void free_sized(void *ptr, size_t size);
void free_aligned_sized(void *ptr, size_t align, size_t size);

EXPORT void free_sized(void *ptr, size_t size)
{
	(void)size;
	fast_free(ptr, "free_sized");
}

EXPORT void free_aligned_sized(void *ptr, size_t align, size_t size)
{
	(void)align, (void)size;
	fast_free(ptr, "free_aligned_sized");
}

/* ---- POSIX and BSD --------------------------------------------------------------------------------- */

EXPORT int posix_memalign(void **out, size_t align, size_t size)
{
	int saved = errno;
	void *block;

	if (!is_power_of_two(align) || align % sizeof(void *))
		return EINVAL;
	block = near__aligned(align, size, NODE_OF_CALLER);
	errno = saved;
	if (!block)
		return ENOMEM;
	*out = block;
	return 0;
}

EXPORT void *reallocarray(void *ptr, size_t count, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(count, size, &bytes))
		return near__enomem();
	return near__realloc(ptr, bytes, NODE_OF_CALLER, "reallocarray");
}

/* An alignment that is no power of two is rounded up to one, as glibc does. */
EXPORT void *memalign(size_t align, size_t size)
{
	if (align > SIZE_MAX / 2 + 1) {
		errno = EINVAL;
		return NULL;
	}
	if (align <= 16)
		return near__aligned(16, size, NODE_OF_CALLER);
	return near__aligned(is_power_of_two(align) ? align : (size_t)2 << log2_floor(align), size, NODE_OF_CALLER);
}

EXPORT void *valloc(size_t size)
{
	return near__aligned(near__os_page_size, size, NODE_OF_CALLER);
}

EXPORT void *pvalloc(size_t size)
{
	size_t page = near__os_page_size;

	if (size > SIZE_MAX - page)
		return near__enomem();
	return near__aligned(page, size ? round_up(size, page) : page, NODE_OF_CALLER);
}

void cfree(void *ptr);

EXPORT void cfree(void *ptr)
{
	fast_free(ptr, "cfree");
}

/* ---- GNU ------------------------------------------------------------------------------------------- */

EXPORT size_t malloc_usable_size(void *ptr)
{
	return near__usable_size(ptr, "malloc_usable_size");
}

EXPORT int malloc_trim(size_t pad)
{
	return near__trim(pad) != 0;
}

EXPORT struct mallinfo2 mallinfo2(void)
{
	struct near_stats s;
	size_t cached, resting;

	near__stats_read(&s);
	cached = s.cached_cpu + s.cached_depot;
	resting = s.free_span + s.free_chunk + s.cached_extent;
	return (struct mallinfo2){
		.arena = s.mapped - s.large,
		.hblkhd = s.large,
		.fsmblks = cached,
		.uordblks = s.allocated,
		.fordblks = cached + resting,
		.keepcost = s.cached_extent + s.free_chunk,
	};
}

static int clamp_int(size_t n)
{
	return n > INT32_MAX ? INT32_MAX : (int)n;
}

/* The members are ints: what does not fit reads as the largest one, instead of wrapping as glibc's do. */
EXPORT struct mallinfo mallinfo(void)
{
	struct mallinfo2 m = mallinfo2();

	return (struct mallinfo){
		.arena = clamp_int(m.arena),
		.hblkhd = clamp_int(m.hblkhd),
		.fsmblks = clamp_int(m.fsmblks),
		.uordblks = clamp_int(m.uordblks),
		.fordblks = clamp_int(m.fordblks),
		.keepcost = clamp_int(m.keepcost),
	};
}

EXPORT int malloc_info(int options, FILE *stream)
{
	struct text xml;
	bool written;

	if (options) {
		errno = EINVAL;
		return -1;
	}
	xml = near__report_begin();
	if (!xml.buffer) {
		errno = ENOMEM;
		return -1;
	}
	near__report_xml(&xml);
	written = fwrite(xml.buffer, 1, xml.length, stream) == xml.length;
	near__report_end(&xml);
	return written ? 0 : -1;
}

EXPORT void malloc_stats(void)
{
	near_report(STDERR_FILENO);
}

/* What glibc calls the trim threshold is how much freed memory is kept; the rest has no counterpart here. */
EXPORT int mallopt(int parameter, int value)
{
	if (parameter == M_TRIM_THRESHOLD && value >= 0)
		store_relaxed(&near__conf.extent_cache, (uint64_t)value);
	return 1;
}

/* ---- the twins that some programs call to get around interposition --------------------------------- */

TWIN(malloc) void *__libc_malloc(size_t size);
TWIN(free) void __libc_free(void *ptr);
TWIN(cfree) void __libc_cfree(void *ptr);
TWIN(calloc) void *__libc_calloc(size_t count, size_t size);
TWIN(realloc) void *__libc_realloc(void *ptr, size_t size);
TWIN(reallocarray) void *__libc_reallocarray(void *ptr, size_t count, size_t size);
TWIN(memalign) void *__libc_memalign(size_t align, size_t size);
TWIN(valloc) void *__libc_valloc(size_t size);
TWIN(pvalloc) void *__libc_pvalloc(size_t size);
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
TWIN(mallinfo) struct mallinfo __libc_mallinfo(void);
TWIN(mallopt) int __libc_mallopt(int parameter, int value);
