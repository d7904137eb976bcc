/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * Allocation at the edges of a process: in an ifunc resolver, before every constructor, after every destructor, and
 * while the last streams are flushed. A line on stdout for each moment lets the driver see that all took place.
 */
#include "shadow.h"
#include "threads.h"

static struct block early[3];

static void moment(const char *name)
{
	unsigned char *p;

	say(1, name);
	say(1, "\n");
	for (size_t size = 1; size < 4u << 20; size = size * 5 + 3) {
		p = opaque(malloc(size));
		CHECK(p != NULL);
		memset(p, 0x77, size);
		p = opaque(realloc(p, size * 2));
		CHECK(p != NULL && p[0] == 0x77 && p[size - 1] == 0x77);
		free(p);
	}
	p = opaque(aligned_alloc(4096, 4096));
	CHECK(p != NULL);
	free(p);
}

static void keep(int slot, size_t size)
{
	early[slot] = (struct block){.ptr = malloc(size), .size = size};
	CHECK(early[slot].ptr != NULL);
	block_fill(&early[slot], size);
}

/* Relocation calls this before any code of the program; only plain stores and allocation are safe here. */
static volatile size_t resolved;

static int answer(void)
{
	return 42;
}

__attribute__((used)) static int (*resolve_answer(void))(void)
{
	void *p = malloc(100);

	resolved = malloc_usable_size(p);
	free(p);
	return answer;
}

int resolved_late(void) __attribute__((ifunc("resolve_answer")));

static void before_constructors(void)
{
	moment("preinit");
	keep(0, 1000);
}

__attribute__((section(".preinit_array"), used)) static void (*preinit)(void) = before_constructors;

__attribute__((constructor(101))) static void first_constructor(void)
{
	moment("constructor");
	keep(1, 100000);
}

__attribute__((destructor(101))) static void last_destructor(void)
{
	moment("destructor");
	for (int i = 0; i < 3; i++) {
		block_verify(&early[i]);
		free(early[i].ptr);
	}
}

static void at_exit(void)
{
	moment("atexit");
}

/* stdio is flushed after the destructors of all libraries. */
static ssize_t write_late(void *cookie, const char *text, size_t size)
{
	(void)cookie;
	(void)text;
	moment("stdio");
	return (ssize_t)size;
}

static pthread_key_t key;

static void key_destructor(void *count)
{
	moment("key");
	free(opaque(malloc(100)));
	if ((uintptr_t)count > 1)
		pthread_setspecific(key, (void *)((uintptr_t)count - 1));
}

static void *with_key(void *arg)
{
	pthread_setspecific(key, (void *)2);
	return arg;
}

int main(void)
{
	cookie_io_functions_t functions = {.write = write_late};
	FILE *late = fopencookie(NULL, "w", functions);

	moment("main");
	keep(2, 3000000);
	CHECK(resolved_late() == 42 && resolved >= 100);
	CHECK(pthread_key_create(&key, key_destructor) == 0);
	thread_join(thread_start(with_key, NULL));
	CHECK(atexit(at_exit) == 0 && late != NULL);
	fputs("pending", late);
	return 0;
}
