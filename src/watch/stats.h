/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* Figures and the report. Nothing here allocates; the walks take no lock and read what is type-stable. */
#ifndef NEAR_WATCH_STATS_H
#define NEAR_WATCH_STATS_H

#include "base/format.h"
#include "near/malloc.h"

void near__stats_read(struct near_stats *out);

/* The one-screen report, and glibc's malloc_info document. */
void near__report_text(struct text *out);
void near__report_xml(struct text *out);

/* Enough for either. */
enum { REPORT_BYTES = 8192 };

#endif
