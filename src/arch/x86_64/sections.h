/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * The critical sections for x86-64. The contract stands in arch/sections.h.
 *
 * Labels: 3 the descriptor (start, length, abort), 6 arming, 1 the first instruction inside, 2 the end,
 * 4 the abort stub behind its signature, which starts again at 6. Everything between 1 and 2 may run and be
 * thrown away any number of times, so the only store to shared state is the last instruction; section_push
 * also writes the slot above the cursor, which nobody reads before the commit.
 */
#ifndef NEAR_ARCH_X86_64_SECTIONS_H
#define NEAR_ARCH_X86_64_SECTIONS_H

#define NEAR_SECTIONS 1
#define RSEQ_SIGNATURE 0x53053053

#define SECTION_BEGIN                                                   \
	".pushsection __rseq_cs, \"aw\"\n\t"                            \
	".balign 32\n"                                                  \
	"3:\t.long 0, 0\n\t"                                            \
	".quad 1f, 2f - 1f, 4f\n\t"                                     \
	".popsection\n\t"                                               \
	".pushsection .text.near_abort, \"ax\"\n\t"                     \
	".byte 0x0f, 0xb9, 0x3d\n\t"                                    \
	".long 0x53053053\n"                                            \
	"4:\tjmp 6f\n\t"                                                \
	".popsection\n"                                                 \
	"6:\tlea 3b(%%rip), %[table]\n\t"                               \
	"mov %[table], %%fs:8(%[offset])\n"                             \
	"1:\tmovslq %%fs:4(%[offset]), %[table]\n\t"                    \
	"mov (%[bases], %[table], 8), %[table]\n\t"

#define SECTION_END "2:\n"

#define SECTION_INPUTS [offset] "r"(near__rseq_offset), [bases] "r"(bases), [slot] "r"(slot)

ALWAYS_INLINE void *section_pop(struct bin *const *bases, uint64_t slot)
{
	void *object;
	uintptr_t table, cursor;

	__asm__ volatile(SECTION_BEGIN
			 "mov (%[table], %[slot], 8), %[cursor]\n\t"
			 "mov (%[cursor]), %[object]\n\t"
			 "test %[object], %[object]\n\t"
			 "je 2f\n\t"
			 "add $-8, %[cursor]\n\t"
			 "mov %[cursor], (%[table], %[slot], 8)\n" /* commit */
			 SECTION_END
			 : [object] "=&r"(object), [table] "=&r"(table), [cursor] "=&r"(cursor)
			 : SECTION_INPUTS
			 : "memory", "cc");
	return object;
}

ALWAYS_INLINE bool section_push(struct bin *const *bases, uint64_t slot, void *object)
{
	uintptr_t table, cursor;
	bool full;

	__asm__ volatile(SECTION_BEGIN
			 "mov (%[table], %[slot], 8), %[cursor]\n\t"
			 "add $8, %[cursor]\n\t"
			 "test %[mask], %k[cursor]\n\t"
			 "je 2f\n\t"
			 "mov %[object], (%[cursor])\n\t"
			 "mov %[cursor], (%[table], %[slot], 8)\n" /* commit */
			 SECTION_END
			 : [table] "=&r"(table), [cursor] "=&r"(cursor), "=@ccz"(full)
			 : SECTION_INPUTS, MAGAZINE_MASK, [object] "r"(object)
			 : "memory", "cc");
	return full;
}

ALWAYS_INLINE uintptr_t section_take_spare(struct bin *const *bases, uint64_t slot, struct bin **table)
{
	uintptr_t spare;

	__asm__ volatile(SECTION_BEGIN
			 "mov 8(%[table], %[slot], 8), %[spare]\n\t"
			 "cmp $1, %[spare]\n\t"
			 "jbe 2f\n\t"
			 "movq $0, 8(%[table], %[slot], 8)\n" /* commit */
			 SECTION_END
			 : [table] "=&r"(*table), [spare] "=&r"(spare)
			 : SECTION_INPUTS
			 : "memory", "cc");
	return spare;
}

ALWAYS_INLINE bool section_put_spare(struct bin *const *bases, uint64_t slot, uintptr_t cursor, struct bin **table)
{
	uintptr_t spare;

	__asm__ volatile(SECTION_BEGIN
			 "mov 8(%[table], %[slot], 8), %[spare]\n\t"
			 "test %[spare], %[spare]\n\t"
			 "jne 2f\n\t"
			 "mov %[cursor], 8(%[table], %[slot], 8)\n" /* commit */
			 SECTION_END
			 : [table] "=&r"(*table), [spare] "=&r"(spare)
			 : SECTION_INPUTS, [cursor] "r"(cursor)
			 : "memory", "cc");
	return spare == SPARE_NONE;
}

ALWAYS_INLINE uintptr_t section_exchange_empty(struct bin *const *bases, uint64_t slot, uintptr_t cursor,
					       struct bin **table)
{
	uintptr_t old, seen;

	__asm__ volatile(SECTION_BEGIN
			 "mov 8(%[table], %[slot], 8), %[seen]\n\t"
			 "xor %k[old], %k[old]\n\t"
			 "cmp $1, %[seen]\n\t"
			 "je 2f\n\t"
			 "mov (%[table], %[slot], 8), %[seen]\n\t"
			 "cmpq $0, (%[seen])\n\t"
			 "jne 2f\n\t"
			 "mov %[seen], %[old]\n\t"
			 "mov %[cursor], (%[table], %[slot], 8)\n" /* commit */
			 SECTION_END
			 : [table] "=&r"(*table), [old] "=&r"(old), [seen] "=&r"(seen)
			 : SECTION_INPUTS, [cursor] "r"(cursor)
			 : "memory", "cc");
	return old;
}

ALWAYS_INLINE uintptr_t section_exchange_full(struct bin *const *bases, uint64_t slot, uintptr_t cursor,
					      struct bin **table)
{
	uintptr_t old, seen;

	__asm__ volatile(SECTION_BEGIN
			 "mov 8(%[table], %[slot], 8), %[seen]\n\t"
			 "xor %k[old], %k[old]\n\t"
			 "cmp $1, %[seen]\n\t"
			 "je 2f\n\t"
			 "mov (%[table], %[slot], 8), %[seen]\n\t"
			 "add $8, %[seen]\n\t"
			 "test %[mask], %k[seen]\n\t"
			 "jne 2f\n\t"
			 "lea -8(%[seen]), %[old]\n\t"
			 "mov %[cursor], (%[table], %[slot], 8)\n" /* commit */
			 SECTION_END
			 : [table] "=&r"(*table), [old] "=&r"(old), [seen] "=&r"(seen)
			 : SECTION_INPUTS, MAGAZINE_MASK, [cursor] "r"(cursor)
			 : "memory", "cc");
	return old;
}

/* As the others, but an abort does not start again: it is the answer. Apart from them, as it commits nothing. */
ALWAYS_INLINE int section_watch(ptrdiff_t offset, const uint32_t *word, uint64_t turns)
{
	uintptr_t descriptor;
	uint32_t seen;
	int result;

	__asm__ volatile(".pushsection __rseq_watch, \"aw\"\n\t"
			 ".balign 32\n"
			 "3:\t.long 0, 0\n\t"
			 ".quad 1f, 2f - 1f, 4f\n\t"
			 ".popsection\n\t"
			 ".pushsection .text.near_abort, \"ax\"\n\t"
			 ".byte 0x0f, 0xb9, 0x3d\n\t"
			 ".long 0x53053053\n"
			 "4:\tmov %[aborted], %[result]\n\t"
			 "jmp 2f\n\t"
			 ".popsection\n\t"
			 "lea 3b(%%rip), %[descriptor]\n\t"
			 "mov %[descriptor], %%fs:8(%[offset])\n"
			 "1:\tmov (%[word]), %[seen]\n"
			 "5:\tcmp (%[word]), %[seen]\n\t"
			 "jne 6f\n\t"
			 "dec %[turns]\n\t"
			 "jne 5b\n\t"
			 "mov %[nothing], %[result]\n\t"
			 "jmp 2f\n"
			 "6:\tmov %[changed], %[result]\n"
			 "2:\n"
			 : [descriptor] "=&r"(descriptor), [seen] "=&r"(seen), [result] "=&r"(result), [turns] "+&r"(turns)
			 : [offset] "r"(offset), [word] "r"(word), [nothing] "i"(WATCH_NOTHING),
			   [changed] "i"(WATCH_CHANGED), [aborted] "i"(WATCH_ABORTED)
			 : "memory", "cc");
	return result;
}

#endif
