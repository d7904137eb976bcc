/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * sized_aligned: objects replaced at random, by free, by C++'s delete with the size, aligned and freed, and by delete
 * with size and alignment. An allocator that lacks C++'s names gets malloc, posix_memalign and free; `by_name` is 1
 * where it has them.
 */
#include <dlfcn.h>

#include "objects.h"

enum { SIZED = 1, ALIGNED = 2 };

/* operator new and operator delete, as C++ names them. */
static void *(*new_plain)(size_t);
static void (*delete_sized)(void *, size_t);
static void *(*new_aligned)(size_t, size_t);
static void (*delete_aligned)(void *, size_t, size_t);
static bool by_name;

static void find_names(void)
{
	*(void **)&new_plain = dlsym(RTLD_DEFAULT, "_Znwm");
	*(void **)&delete_sized = dlsym(RTLD_DEFAULT, "_ZdlPvm");
	*(void **)&new_aligned = dlsym(RTLD_DEFAULT, "_ZnwmSt11align_val_t");
	*(void **)&delete_aligned = dlsym(RTLD_DEFAULT, "_ZdlPvmSt11align_val_t");
	by_name = new_plain && delete_sized && new_aligned && delete_aligned;
}

static void *obtain(unsigned how, size_t size, size_t alignment)
{
	if (how & ALIGNED)
		return by_name && how & SIZED ? checked(new_aligned(size, alignment), size, alignment)
					      : get_aligned(alignment, size);
	return by_name && how & SIZED ? checked(new_plain(size), size, 16) : get(size);
}

static void release(unsigned how, void *memory, size_t size, size_t alignment)
{
	if (!by_name || !(how & SIZED))
		put(memory);
	else if (how & ALIGNED)
		delete_aligned(memory, size, alignment);
	else
		delete_sized(memory, size);
}

static void run(void)
{
	static const char *const words[] = {"free", "sized", "aligned", "aligned_sized", NULL};
	unsigned how = choice("how", words);
	uint32_t slots = (uint32_t)number("slots", 2000);
	unsigned long ops = scaled("ops", 2000000, 500000);
	struct object **objects = table(slots, sizeof(*objects));
	size_t *sizes = table(slots, sizeof(*sizes));
	uint64_t random = FIRST_SEED;

	find_names();
	start();
	for (unsigned long i = 0; i < ops; i++) {
		uint32_t slot = random_below(&random, slots);
		size_t alignment = (size_t)32 << slot % 8; /* 32 to 4096 */

		if (objects[slot] && object_spoil(objects[slot], 64) != sizes[slot])
			die("an object was overwritten");
		if (objects[slot])
			release(how, objects[slot], sizes[slot], alignment);
		sizes[slot] = random_size(&random, small_mix);
		objects[slot] = object_in(obtain(how, sizes[slot], alignment), sizes[slot], 64, &random);
	}
	stop(ops);
	report("by_name", how & SIZED && by_name, "none");
}

static const char *const rows[] = {"how=free", "how=sized", "how=aligned", "how=aligned_sized", NULL};

int main(int argc, char **argv)
{
	(void)argc;
	return workload_main(argv, &(struct workload){"sized_aligned", rows, run});
}
