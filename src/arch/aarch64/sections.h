/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * The critical sections for aarch64. The contract stands in arch/sections.h; the labels are those of the
 * x86-64 file. The address of the bin is formed inside the section, since it depends on the CPU.
 *
 * x16 and x17 are named as clobbered because the linker may route the branch out of the abort stub
 * through a veneer that uses them.
 */
#ifndef NEAR_ARCH_AARCH64_SECTIONS_H
#define NEAR_ARCH_AARCH64_SECTIONS_H

#define NEAR_SECTIONS 1
#define RSEQ_SIGNATURE 0xd428bc00

#define SECTION_BEGIN                                                   \
	".pushsection __rseq_cs, \"aw\"\n\t"                            \
	".balign 32\n"                                                  \
	"3:\t.long 0, 0\n\t"                                            \
	".quad 1f, 2f - 1f, 4f\n\t"                                     \
	".popsection\n\t"                                               \
	".pushsection .text.near_abort, \"ax\"\n\t"                     \
	".inst 0xd428bc00\n"                                            \
	"4:\tb 6f\n\t"                                                  \
	".popsection\n"                                                 \
	"6:\tadrp %[bin], 3b\n\t"                                       \
	"add %[bin], %[bin], :lo12:3b\n\t"                              \
	"str %[bin], [%[rseq], #8]\n"                                   \
	"1:\tldrsw %[bin], [%[rseq], #4]\n\t"                           \
	"ldr %[bin], [%[bases], %[bin], lsl #3]\n\t"                    \
	"add %[bin], %[bin], %[slot], lsl #3\n\t"

#define SECTION_END "2:\n"

#define SECTION_INPUTS                                                              \
	[rseq] "r"(thread_pointer() + (uintptr_t)near__rseq_offset), [bases] "r"(bases), \
		[slot] "r"(slot)

#define SECTION_CLOBBERS "memory", "cc", "x16", "x17"

ALWAYS_INLINE void *section_pop(struct bin *const *bases, uint64_t slot)
{
	void *object;
	uintptr_t bin, cursor;

	__asm__ volatile(SECTION_BEGIN
			 "ldr %[cursor], [%[bin]]\n\t"
			 "ldr %[object], [%[cursor]]\n\t"
			 "cbz %[object], 2f\n\t"
			 "sub %[cursor], %[cursor], #8\n\t"
			 "str %[cursor], [%[bin]]\n" /* commit */
			 SECTION_END
			 : [object] "=&r"(object), [bin] "=&r"(bin), [cursor] "=&r"(cursor)
			 : SECTION_INPUTS
			 : SECTION_CLOBBERS);
	return object;
}

ALWAYS_INLINE bool section_push(struct bin *const *bases, uint64_t slot, void *object)
{
	uintptr_t bin, cursor;

	__asm__ volatile(SECTION_BEGIN
			 "ldr %[cursor], [%[bin]]\n\t"
			 "add %[cursor], %[cursor], #8\n\t"
			 "tst %[cursor], %[mask]\n\t"
			 "b.eq 2f\n\t"
			 "str %[object], [%[cursor]]\n\t"
			 "str %[cursor], [%[bin]]\n" /* commit */
			 SECTION_END
			 : [bin] "=&r"(bin), [cursor] "=&r"(cursor)
			 : SECTION_INPUTS, MAGAZINE_MASK, [object] "r"(object)
			 : SECTION_CLOBBERS);
	return !(cursor & (MAGAZINE_BYTES - 1));
}

ALWAYS_INLINE struct bin *section_table(uintptr_t bin, uint64_t slot)
{
	return (struct bin *)(bin - slot * 8);
}

ALWAYS_INLINE uintptr_t section_take_spare(struct bin *const *bases, uint64_t slot, struct bin **table)
{
	uintptr_t bin, spare;

	__asm__ volatile(SECTION_BEGIN
			 "ldr %[spare], [%[bin], #8]\n\t"
			 "cmp %[spare], #1\n\t"
			 "b.ls 2f\n\t"
			 "str xzr, [%[bin], #8]\n" /* commit */
			 SECTION_END
			 : [bin] "=&r"(bin), [spare] "=&r"(spare)
			 : SECTION_INPUTS
			 : SECTION_CLOBBERS);
	*table = section_table(bin, slot);
	return spare;
}

ALWAYS_INLINE bool section_put_spare(struct bin *const *bases, uint64_t slot, uintptr_t cursor, struct bin **table)
{
	uintptr_t bin, spare;

	__asm__ volatile(SECTION_BEGIN
			 "ldr %[spare], [%[bin], #8]\n\t"
			 "cbnz %[spare], 2f\n\t"
			 "str %[cursor], [%[bin], #8]\n" /* commit */
			 SECTION_END
			 : [bin] "=&r"(bin), [spare] "=&r"(spare)
			 : SECTION_INPUTS, [cursor] "r"(cursor)
			 : SECTION_CLOBBERS);
	*table = section_table(bin, slot);
	return spare == SPARE_NONE;
}

ALWAYS_INLINE uintptr_t section_exchange_empty(struct bin *const *bases, uint64_t slot, uintptr_t cursor,
					       struct bin **table)
{
	uintptr_t bin, old, seen, word;

	__asm__ volatile(SECTION_BEGIN
			 "mov %[old], xzr\n\t"
			 "ldr %[word], [%[bin], #8]\n\t"
			 "cmp %[word], #1\n\t"
			 "b.eq 2f\n\t"
			 "ldr %[seen], [%[bin]]\n\t"
			 "ldr %[word], [%[seen]]\n\t"
			 "cbnz %[word], 2f\n\t"
			 "mov %[old], %[seen]\n\t"
			 "str %[cursor], [%[bin]]\n" /* commit */
			 SECTION_END
			 : [bin] "=&r"(bin), [old] "=&r"(old), [seen] "=&r"(seen), [word] "=&r"(word)
			 : SECTION_INPUTS, [cursor] "r"(cursor)
			 : SECTION_CLOBBERS);
	*table = section_table(bin, slot);
	return old;
}

ALWAYS_INLINE uintptr_t section_exchange_full(struct bin *const *bases, uint64_t slot, uintptr_t cursor,
					      struct bin **table)
{
	uintptr_t bin, old, seen;

	__asm__ volatile(SECTION_BEGIN
			 "mov %[old], xzr\n\t"
			 "ldr %[seen], [%[bin], #8]\n\t"
			 "cmp %[seen], #1\n\t"
			 "b.eq 2f\n\t"
			 "ldr %[seen], [%[bin]]\n\t"
			 "add %[seen], %[seen], #8\n\t"
			 "tst %[seen], %[mask]\n\t"
			 "b.ne 2f\n\t"
			 "sub %[old], %[seen], #8\n\t"
			 "str %[cursor], [%[bin]]\n" /* commit */
			 SECTION_END
			 : [bin] "=&r"(bin), [old] "=&r"(old), [seen] "=&r"(seen)
			 : SECTION_INPUTS, MAGAZINE_MASK, [cursor] "r"(cursor)
			 : SECTION_CLOBBERS);
	*table = section_table(bin, slot);
	return old;
}

/* As the others, but an abort does not start again: it is the answer. Apart from them, as it commits nothing. */
ALWAYS_INLINE int section_watch(ptrdiff_t offset, const uint32_t *word, uint64_t turns)
{
	uintptr_t descriptor;
	uint32_t seen, now;
	int result;

	__asm__ volatile(".pushsection __rseq_watch, \"aw\"\n\t"
			 ".balign 32\n"
			 "3:\t.long 0, 0\n\t"
			 ".quad 1f, 2f - 1f, 4f\n\t"
			 ".popsection\n\t"
			 ".pushsection .text.near_abort, \"ax\"\n\t"
			 ".inst 0xd428bc00\n"
			 "4:\tmov %w[result], %[aborted]\n\t"
			 "b 2f\n\t"
			 ".popsection\n\t"
			 "adrp %[descriptor], 3b\n\t"
			 "add %[descriptor], %[descriptor], :lo12:3b\n\t"
			 "str %[descriptor], [%[rseq], #8]\n"
			 "1:\tldr %w[seen], [%[word]]\n"
			 "5:\tldr %w[now], [%[word]]\n\t"
			 "cmp %w[now], %w[seen]\n\t"
			 "b.ne 6f\n\t"
			 "subs %[turns], %[turns], #1\n\t"
			 "b.ne 5b\n\t"
			 "mov %w[result], %[nothing]\n\t"
			 "b 2f\n"
			 "6:\tmov %w[result], %[changed]\n"
			 "2:\n"
			 : [descriptor] "=&r"(descriptor), [seen] "=&r"(seen), [now] "=&r"(now), [result] "=&r"(result),
			   [turns] "+&r"(turns)
			 : [rseq] "r"(thread_pointer() + (uintptr_t)offset), [word] "r"(word), [nothing] "i"(WATCH_NOTHING),
			   [changed] "i"(WATCH_CHANGED), [aborted] "i"(WATCH_ABORTED)
			 : SECTION_CLOBBERS);
	return result;
}

#endif
