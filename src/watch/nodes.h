/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* Figures by node. Nodes are dense numbers here; see near/malloc.h for what the figures mean. */
#ifndef NEAR_WATCH_NODES_H
#define NEAR_WATCH_NODES_H

#include "base/format.h"
#include "near/malloc.h"

void near__node_stats(unsigned node, struct near_node_stats *out);
void near__node_pair(unsigned on, unsigned home, struct near_node_pair *out);
/* Add to counts[], by the kernel's numbers up to near__numa_last(), the resident pages of a range, or of a sample. 0 or errno. */
int near__node_resident(const void *ptr, size_t length, size_t counts[]);
int near__node_sample(unsigned home, size_t pages, size_t counts[]);

/* Sections of the report and of malloc_info. */
void near__nodes_text(struct text *out);
void near__nodes_xml(struct text *out);

#endif
