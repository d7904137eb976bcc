/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* One line on stderr, in one write, from any context. */
#include <stdlib.h>

#include "base/format.h"
#include "os/os.h"

static void say(const char *format, va_list args)
{
	char buffer[512];
	struct text line = {.buffer = buffer, .size = sizeof(buffer) - 1};

	near__text_add(&line, "nearmalloc: ");
	near__text_vadd(&line, format, args);
	buffer[line.length++] = '\n';
	near__os_write(2, buffer, line.length);
}

void near__warn(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say(format, args);
	va_end(args);
}

void near__die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say(format, args);
	va_end(args);
	abort();
}
