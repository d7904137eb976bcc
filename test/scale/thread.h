/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* Put before every file of the simulated allocator: each CPU is a thread of its own, and its pauses take time. */
#ifndef NEAR_TEST_THREAD_H
#define NEAR_TEST_THREAD_H

void *sim_thread_pointer(void);
void sim_pause(void);
#define __builtin_thread_pointer() sim_thread_pointer()
#define __builtin_ia32_pause()	   sim_pause()

#endif
