/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* Whether malloc_info writes XML. */
#ifndef NEAR_TEST_XML_H
#define NEAR_TEST_XML_H

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

/* Tags must nest, attributes be quoted, and nothing stand outside the root. Enough for XML without text entities. */
static inline bool well_formed(const char *xml, const char *root)
{
	char open[64][32];
	int depth = 0, roots = 0;

	while (*xml != '\0') {
		char name[32];
		int length = 0;
		bool closing, empty = false;
		char quote = 0;

		if (*xml != '<') {
			if (*xml == '>' || *xml == '&' || (depth == 0 && !isspace((unsigned char)*xml)))
				return false;
			xml++;
			continue;
		}
		xml++;
		closing = *xml == '/';
		xml += closing;
		while (isalnum((unsigned char)*xml) && length < 31)
			name[length++] = *xml++;
		name[length] = '\0';
		for (; *xml != '\0' && (quote || *xml != '>'); xml++) {
			if (*xml == '<')
				return false;
			if (quote != 0)
				quote = *xml == quote ? 0 : quote;
			else if (*xml == '"' || *xml == '\'')
				quote = *xml;
			empty = *xml == '/';
		}
		if (*xml++ == '\0' || length == 0)
			return false;
		if (closing) {
			if (depth == 0 || strcmp(open[--depth], name) != 0)
				return false;
			continue;
		}
		if (depth == 0 && (roots++ > 0 || strcmp(name, root) != 0))
			return false;
		if (!empty && depth < 64)
			strcpy(open[depth++], name);
	}
	return depth == 0 && roots == 1;
}

#endif
