/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* The small printf. */
#include "base/format.h"

#include <string.h>

struct spec {
	bool left, zero, wide;
	unsigned width;
	int precision; /* -1: none */
};

static void put(struct text *text, const char *bytes, size_t n)
{
	if (!text->size)
		return;

	size_t room = text->size - 1 - text->length;

	if (n > room) {
		n = room;
		text->cut = true;
	}
	memcpy(text->buffer + text->length, bytes, n);
	text->length += n;
	text->buffer[text->length] = '\0';
}

static void pad(struct text *text, char c, unsigned width, size_t used)
{
	for (; used < width; used++)
		put(text, &c, 1);
}

static void put_field(struct text *text, const struct spec *spec, const char *bytes, size_t n)
{
	if (!spec->left)
		pad(text, spec->zero ? '0' : ' ', spec->width, n);
	put(text, bytes, n);
	if (spec->left)
		pad(text, ' ', spec->width, n);
}

static void put_number(struct text *text, const struct spec *spec, uint64_t value, unsigned base, const char *prefix)
{
	char digits[24], *p = digits + sizeof(digits);

	do {
		*--p = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	for (size_t n = strlen(prefix); n;)
		*--p = prefix[--n];
	put_field(text, spec, p, (size_t)(digits + sizeof(digits) - p));
}

static void put_bytes(struct text *text, const struct spec *spec, uint64_t bytes)
{
	static const char units[][4] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	char buffer[32];
	struct text number = TEXT_IN(buffer);
	unsigned unit = 0;
	uint64_t tenths = bytes;

	while (unit + 1 < ARRAY_LEN(units) && bytes >> (10 * (unit + 1)))
		unit++;
	if (unit) {
		tenths = (bytes >> (10 * (unit - 1))) * 10 / 1024;
		near__text_add(&number, "%lu.%lu %s", tenths / 10, tenths % 10, units[unit]);
	} else {
		near__text_add(&number, "%lu B", tenths);
	}
	put_field(text, spec, buffer, number.length);
}

static const char *parse_spec(const char *f, struct spec *spec, va_list *args)
{
	*spec = (struct spec){.precision = -1};
	for (;; f++) {
		if (*f == '-')
			spec->left = true;
		else if (*f == '0')
			spec->zero = true;
		else
			break;
	}
	for (; *f >= '0' && *f <= '9'; f++)
		spec->width = spec->width * 10 + (unsigned)(*f - '0');
	if (f[0] == '.' && f[1] == '*') {
		spec->precision = va_arg(*args, int);
		f += 2;
	}
	for (; *f == 'l' || *f == 'z'; f++)
		spec->wide = true;
	return f;
}

static void put_string(struct text *text, const struct spec *spec, const char *s)
{
	if (!s)
		s = "(none)";
	put_field(text, spec, s, spec->precision >= 0 ? strnlen(s, (size_t)spec->precision) : strlen(s));
}

static void put_argument(struct text *text, char kind, const struct spec *spec, va_list *args)
{
	int64_t d;
	char c;

	switch (kind) {
	case 's':
		put_string(text, spec, va_arg(*args, const char *));
		break;
	case 'c':
		c = (char)va_arg(*args, int);
		put_field(text, spec, &c, 1);
		break;
	case 'd':
		d = spec->wide ? va_arg(*args, int64_t) : va_arg(*args, int);
		put_number(text, spec, d < 0 ? 0 - (uint64_t)d : (uint64_t)d, 10, d < 0 ? "-" : "");
		break;
	case 'u':
	case 'x':
		put_number(text, spec, spec->wide ? va_arg(*args, uint64_t) : va_arg(*args, unsigned),
			   kind == 'u' ? 10 : 16, "");
		break;
	case 'p':
		put_number(text, spec, (uintptr_t)va_arg(*args, const void *), 16, "0x");
		break;
	case 'B':
		put_bytes(text, spec, va_arg(*args, uint64_t));
		break;
	default:
		put(text, &kind, 1);
	}
}

void near__text_vadd(struct text *text, const char *format, va_list args)
{
	va_list copy;

	va_copy(copy, args);
	put(text, "", 0); /* terminates it, whatever follows */
	while (*format) {
		const char *percent = strchr(format, '%');
		struct spec spec;

		if (!percent) {
			put(text, format, strlen(format));
			break;
		}
		put(text, format, (size_t)(percent - format));
		format = parse_spec(percent + 1, &spec, &copy);
		if (!*format)
			break;
		put_argument(text, *format++, &spec, &copy);
	}
	va_end(copy);
}

void near__text_add(struct text *text, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	near__text_vadd(text, format, args);
	va_end(args);
}
