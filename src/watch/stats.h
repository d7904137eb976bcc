/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* Figures and the report. Nothing here allocates; the walks take no lock and read what is type-stable. */
#ifndef NEAR_WATCH_STATS_H
#define NEAR_WATCH_STATS_H

#include "base/format.h"
#include "near/malloc.h"

void near__stats_read(struct near_stats *out);

/* Room for either report, mapped because the stack may be a signal handler's; .buffer is NULL when none can be had. */
struct text near__report_begin(void);
void near__report_end(struct text *out);

/* The one-screen report, and glibc's malloc_info document. */
void near__report_text(struct text *out);
void near__report_xml(struct text *out);

enum { REPORT_BYTES = 8192, REPORT_BYTES_PER_NODE = 512 };

#endif
