/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * The options, and the parser of "key:value,key:value".
 *
 * Later sources win key by key. A bad entry changes nothing and is handed to the caller as one line.
 */
#ifndef NEAR_BASE_CONF_H
#define NEAR_BASE_CONF_H

#include <stdbool.h>

#include "base/compiler.h"

enum conf_switch { CONF_AUTO, CONF_ON, CONF_OFF };
enum conf_foreign { CONF_FOREIGN_ABORT, CONF_FOREIGN_IGNORE };

enum conf_purge { CONF_PURGE_NOW, CONF_PURGE_FREE };
enum conf_thp { CONF_THP_AUTO, CONF_THP_ALWAYS, CONF_THP_NEVER };

enum conf_remote_free { CONF_REMOTE_HOME, CONF_REMOTE_ADOPT };
enum { CONF_NODE_WORDS = 1024 / 64 };

struct conf {
	uint64_t abort_conf;
	uint64_t confirm_conf;
	uint64_t foreign; /* enum conf_foreign */
	uint64_t numa;	  /* enum conf_switch */
	uint64_t numa_strict;
	uint64_t remote_free; /* enum conf_remote_free */
	uint64_t rseq;	      /* enum conf_switch */
	uint64_t stats_print;
	uint64_t nodes[CONF_NODE_WORDS]; /* bits of those to use; none: all */
	uint64_t decay_ms;		 /* after this long unused, free memory moves on */
	uint64_t percpu_cache;		 /* bytes per CPU in its bins; 0: derived from the number of CPUs */
	uint64_t depot_cache;		 /* bytes per node in its depots */
	uint64_t extent_cache;		 /* bytes per node of freed large blocks */
	uint64_t retain_max;		 /* bytes per node of free memory that is resident, beside a share of what is in use */
	uint64_t cache_ttl;		 /* milliseconds until unused caches are emptied; 0: decay_ms */
	uint64_t max_caches;		 /* CPUs that may have filled bins; 0: all */
	uint64_t initial_pool;		 /* bytes per node resident from the start */
	uint64_t limit_soft;		 /* bytes; 0: none */
	uint64_t limit_hard;		 /* bytes; 0: none */
	uint64_t janitor;		 /* enum conf_switch */
	uint64_t purge;			 /* enum conf_purge */
	uint64_t thp;			 /* enum conf_thp */
};

extern struct conf near__conf;

typedef void conf_complaint(const char *source, const char *line);

/* Applies the entries of text[0 .. length); `source` is told in complaints and by near__conf_describe. */
void near__conf_parse(const char *text, size_t length, const char *source, conf_complaint *complain);

struct text;

/* "key:value (source)" for entry i; false past the last. */
bool near__conf_describe(unsigned i, struct text *out);

#endif
