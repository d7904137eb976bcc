/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Fixed sequences of calls, whose instructions counts.sh counts: trace NAME.
 *
 * Only what `counted` calls counts, and the preparation before it does not.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOINLINE __attribute__((noinline))

enum { OBJECTS = 20000 };

static void *object[OBJECTS];

/* C++'s new and sized delete, as a compiler names them; the library has them. */
__attribute__((weak)) void *_Znwm(size_t size);
__attribute__((weak)) void _ZdlPvm(void *ptr, size_t size);

static void nothing(void)
{
}

static void pair(void)
{
	free(malloc(64));
}

static void take(void)
{
	for (int i = 0; i < OBJECTS; i++)
		object[i] = malloc(64);
}

static void give(void)
{
	for (int i = 0; i < OBJECTS; i++) {
		free(object[i]);
		object[i] = NULL;
	}
}

/* Five of each eighth of a doubling up to 256 KiB. */
static void take_mixed(void)
{
	int n = 0;

	for (size_t size = 16; size <= 256 << 10; size += size < 128 ? 16 : size / 8) {
		for (int i = 0; i < 5; i++)
			object[n++] = malloc(size);
	}
}

static void hot(void)
{
	for (int i = 0; i < 1000; i++)
		pair();
}

static void waves(void)
{
	for (int wave = 0; wave < 3; wave++) {
		take();
		give();
	}
}

static void classes(void)
{
	for (int round = 0; round < 3; round++) {
		take_mixed();
		give();
	}
}

static void large(void)
{
	static const size_t size[] = {260 << 10, 300 << 10, 900 << 10, 1 << 20, 3 << 20, 40 << 20};

	for (int round = 0; round < 20; round++) {
		for (size_t i = 0; i < sizeof(size) / sizeof(*size); i++)
			object[i] = malloc(size[i]);
		for (size_t i = 0; i < sizeof(size) / sizeof(*size); i++)
			free(object[i]);
	}
}

static void resize(void)
{
	for (int round = 0; round < 20; round++) {
		char *p = malloc(16);

		for (size_t size = 16; size <= 4 << 20; size += size / 2)
			p = realloc(p, size);
		for (size_t size = 4 << 20; size >= 16; size /= 2)
			p = realloc(p, size);
		free(p);
	}
}

static void zeroed(void)
{
	for (int i = 0; i < 1000; i++)
		free(calloc(10, 10));
	for (int i = 0; i < 50; i++)
		free(calloc(3, 100 << 10));
}

static void sized(void)
{
	for (int i = 0; i < 1000; i++)
		_ZdlPvm(_Znwm(64), 64);
}

static void aligned(void)
{
	for (int round = 0; round < 50; round++) {
		for (size_t align = 16; align <= 64 << 10; align *= 2)
			free(aligned_alloc(align, 3 * align));
	}
}

static void trim(void)
{
	malloc_trim(0);
}

static void prepare_trim(void)
{
	take();
	give();
	take_mixed();
	give();
}

static const struct trace {
	const char *name;
	void (*prepare)(void), (*run)(void);
} traces[] = {
	{"start", nothing, nothing}, /* of this one all of the process counts */
	{"hot", pair, hot},
	{"refill", nothing, take},
	{"flush", take, give},
	{"waves", pair, waves},
	{"classes", nothing, classes},
	{"large", nothing, large},
	{"realloc", nothing, resize},
	{"calloc", pair, zeroed},
	{"sized", pair, sized},
	{"aligned", nothing, aligned},
	{"trim", prepare_trim, trim},
};

NOINLINE void counted(void (*run)(void));
NOINLINE void counted(void (*run)(void))
{
	run();
}

int main(int argc, char **argv)
{
	for (size_t i = 0; argc > 1 && i < sizeof(traces) / sizeof(*traces); i++) {
		if (strcmp(argv[1], traces[i].name))
			continue;
		traces[i].prepare();
		counted(traces[i].run);
		return 0;
	}
	for (size_t i = 0; i < sizeof(traces) / sizeof(*traces); i++)
		puts(traces[i].name);
	return argc > 1;
}
