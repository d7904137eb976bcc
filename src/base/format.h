/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* Printing into a buffer without stdio: nothing here allocates, locks or looks at the locale. */
#ifndef NEAR_BASE_FORMAT_H
#define NEAR_BASE_FORMAT_H

#include <stdarg.h>
#include <stdbool.h>

#include "base/compiler.h"

/* Text collected in a caller's array; what does not fit is cut and noted. Always terminated. */
struct text {
	char *buffer;
	size_t size;
	size_t length;
	bool cut;
};

#define TEXT_IN(array) ((struct text){.buffer = (array), .size = sizeof(array)})

/*
 * A small printf: %s %c %d %u %x %p %%, with `l` or `z` for 64-bit numbers, `.*s`, and a minimum width with `-`
 * and `0`. Of its own: %B, a 64-bit number of bytes for people ("12.3 MiB").
 */
void near__text_add(struct text *text, const char *format, ...);
void near__text_vadd(struct text *text, const char *format, va_list args);

#endif
