/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * loading CASE OBJECT: plugins that come and go, in this namespace and in others.
 *
 * Another namespace has its own libc with its own heap, and may have its own copy of the allocator.
 */
#include <dlfcn.h>

#include "shadow.h"
#include "threads.h"

static const char *object;
static int stop;

struct plugin {
	void *handle;
	void *(*make)(size_t);
	void (*drop)(void *);
	void (*work)(unsigned);
};

static void *find(void *handle, const char *name)
{
	void *at = dlsym(handle, name);

	CHECK(at != NULL);
	return at;
}

static struct plugin plugin_of(void *handle)
{
	struct plugin p = {.handle = handle};

	if (handle == NULL)
		say(2, dlerror());
	CHECK(handle != NULL);
	*(void **)&p.make = find(handle, "plugin_make");
	*(void **)&p.drop = find(handle, "plugin_drop");
	*(void **)&p.work = find(handle, "plugin_work");
	return p;
}

static void *hammer(void *arg)
{
	struct shadow s;

	shadow_open(&s, 400, 400000, (uint64_t)(uintptr_t)arg + 1);
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
		shadow_step(&s);
	shadow_close(&s);
	return NULL;
}

/* Each has a copy of the file of its own name, or dlopen would return the same object to all. */
static void *load_and_unload(void *arg)
{
	for (unsigned i = 0; i < scaled(150); i++) {
		struct plugin p = plugin_of(dlopen(object, RTLD_NOW | RTLD_LOCAL));
		void *block = p.make(1000);

		p.work(i);
		CHECK(block != NULL);
		memset(block, 1, 1000);
		CHECK(dlclose(p.handle) == 0);
		free(block);
	}
	return arg;
}

static void plugins(void)
{
	pthread_t threads[4];

	for (int i = 0; i < 4; i++)
		threads[i] = thread_start(i < 2 ? hammer : load_and_unload, NULL);
	thread_join(threads[2]);
	thread_join(threads[3]);
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	thread_join(threads[0]);
	thread_join(threads[1]);
}

static void *work_there(void *arg)
{
	struct plugin *p = arg;

	for (unsigned i = 0; i < 20; i++) {
		void *block = p->make(2000);

		CHECK(block != NULL);
		memset(block, 2, 2000);
		p->work(i + 3);
		p->drop(block);
	}
	return NULL;
}

static void namespaces(void)
{
	pthread_t other = thread_start(hammer, NULL);

	for (int round = 0; round < 4; round++) {
		struct plugin p = plugin_of(dlmopen(LM_ID_NEWLM, object, RTLD_NOW | RTLD_LOCAL));
		pthread_t a = thread_start(work_there, &p), b = thread_start(work_there, &p);

		work_there(&p);
		thread_join(a);
		thread_join(b);
		CHECK(dlclose(p.handle) == 0);
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	thread_join(other);
}

struct allocator {
	void *(*malloc)(size_t);
	void (*free)(void *);
	void *(*realloc)(void *, size_t);
};

static void *use_second(void *arg)
{
	struct allocator *a = arg;
	struct block b[200] = {{.ptr = NULL}};
	uint64_t random = (uintptr_t)&b;

	for (unsigned i = 0; i < 60000; i++) {
		struct block *at = &b[random_below(&random, 200)];

		if (at->ptr != NULL) {
			block_verify(at);
			a->free(at->ptr);
			at->ptr = NULL;
			continue;
		}
		at->size = random_size(&random, 200000);
		at->ptr = a->realloc(a->malloc(10), at->size + 1);
		CHECK(at->ptr != NULL);
		block_fill(at, i);
	}
	for (unsigned i = 0; i < 200; i++)
		a->free(b[i].ptr);
	return NULL;
}

/* The allocator itself a second time: two copies share a thread's rseq area and the process's address space. */
static void second_copy(void)
{
	void *handle = dlmopen(LM_ID_NEWLM, object, RTLD_NOW | RTLD_LOCAL);
	pthread_t other, users[2];
	struct allocator second;

	if (handle == NULL)
		say(2, dlerror());
	CHECK(handle != NULL);
	*(void **)&second.malloc = find(handle, "malloc");
	*(void **)&second.free = find(handle, "free");
	*(void **)&second.realloc = find(handle, "realloc");
	CHECK(second.malloc != malloc);
	other = thread_start(hammer, NULL);
	users[0] = thread_start(use_second, &second);
	users[1] = thread_start(use_second, &second);
	thread_join(users[0]);
	thread_join(users[1]);
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	thread_join(other);
	dlclose(handle);
	free(malloc(10));
}

/* Loaded by dlopen without a preload: its malloc serves who asks it, and it stays when closed. */
static void by_dlopen(void)
{
	for (int i = 0; i < 3; i++) {
		void *handle = dlopen(object, RTLD_NOW | RTLD_LOCAL);
		struct allocator a;
		pthread_t thread;

		if (handle == NULL)
			say(2, dlerror());
		CHECK(handle != NULL);
		*(void **)&a.malloc = find(handle, "malloc");
		*(void **)&a.free = find(handle, "free");
		*(void **)&a.realloc = find(handle, "realloc");
		thread = thread_start(use_second, &a);
		use_second(&a);
		thread_join(thread);
		CHECK(dlclose(handle) == 0);
	}
}

static const struct test_case cases[] = {
	{"plugins", plugins},
	{"namespaces", namespaces},
	{"second_copy", second_copy},
	{"by_dlopen", by_dlopen},
};

int main(int argc, char **argv)
{
	object = argc > 2 ? argv[2] : "";
	return RUN_CASE(argc, argv, cases);
}
