/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* The fence that makes draining another CPU safe: it aborts the section that runs there, if any. Linux 5.10. */
#include <linux/membarrier.h>

#include "os/kernel.h"
#include "os/os.h"

bool near__membarrier_start(void)
{
	return !KERNEL(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ, 0, 0);
}

void near__membarrier_fence_all(void)
{
	KERNEL(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ, 0, 0);
}

int near__membarrier_fence(unsigned cpu)
{
	return (int)-KERNEL(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ, MEMBARRIER_CMD_FLAG_CPU, cpu);
}
