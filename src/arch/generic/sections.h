/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * No critical sections: an architecture without them, or --disable-rseq. Start-up chooses the locked mode, so
 * none of these is ever reached; they answer as the stub would.
 */
#ifndef NEAR_ARCH_GENERIC_SECTIONS_H
#define NEAR_ARCH_GENERIC_SECTIONS_H

#define NEAR_SECTIONS 0
#define RSEQ_SIGNATURE 0x53053053

ALWAYS_INLINE void *section_pop(struct bin *const *bases, uint64_t slot)
{
	(void)bases, (void)slot;
	return NULL;
}

ALWAYS_INLINE bool section_push(struct bin *const *bases, uint64_t slot, void *object)
{
	(void)bases, (void)slot, (void)object;
	return true;
}

ALWAYS_INLINE uintptr_t section_take_spare(struct bin *const *bases, uint64_t slot, struct bin **table)
{
	(void)bases, (void)slot, (void)table;
	return SPARE_STUB;
}

ALWAYS_INLINE bool section_put_spare(struct bin *const *bases, uint64_t slot, uintptr_t cursor, struct bin **table)
{
	(void)bases, (void)slot, (void)cursor, (void)table;
	return false;
}

ALWAYS_INLINE uintptr_t section_exchange_empty(struct bin *const *bases, uint64_t slot, uintptr_t cursor,
					       struct bin **table)
{
	(void)bases, (void)slot, (void)cursor, (void)table;
	return 0;
}

ALWAYS_INLINE uintptr_t section_exchange_full(struct bin *const *bases, uint64_t slot, uintptr_t cursor,
					      struct bin **table)
{
	(void)bases, (void)slot, (void)cursor, (void)table;
	return 0;
}

ALWAYS_INLINE int section_watch(ptrdiff_t offset, const uint32_t *word, uint64_t turns)
{
	(void)offset, (void)word, (void)turns;
	return WATCH_NOTHING;
}

#endif
