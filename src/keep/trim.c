/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* From the top tier down: bins to spans, depots to spans, empty spans to chunks, free pages to the kernel. */
#include "keep/trim.h"

#include "cache/cache.h"

size_t near__trim(size_t keep)
{
	size_t bytes = 0;

	if (near__mode != NEAR_MODE_EARLY) {
		near__drain_all();
		for (unsigned node = 0; node < near__nodes; node++)
			near__depot_trim(node);
	}
	for (unsigned node = 0; node < near__nodes; node++) {
		size_t share = keep / near__nodes;

		near__span_trim(node);
		bytes += near__extent_trim(node, share);
		bytes += near__chunk_trim(node, share);
	}
	return bytes;
}
