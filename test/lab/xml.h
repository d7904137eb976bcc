/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* Whether a text is well-formed XML, as far as the allocator writes any. */
#ifndef NEAR_TEST_LAB_XML_H
#define NEAR_TEST_LAB_XML_H

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

/* Tags nest, attributes are quoted, and there is one root. Returns what is wrong, or NULL. */
static inline const char *xml_fault(const char *p)
{
	const char *open[32];
	size_t length[32];
	int depth = 0, roots = 0;

	for (; *p != '\0'; p++) {
		const char *name = p + 1, *end;
		bool closing = *name == '/', quoted = false;

		if (*p != '<') {
			if (depth == 0 && !isspace((unsigned char)*p))
				return "text outside the root";
			continue;
		}
		name += closing;
		if (!isalpha((unsigned char)*name))
			return "a tag without a name";
		for (end = name; isalnum((unsigned char)*end) || *end == '_'; end++)
			continue;
		for (p = end; *p != '\0' && (quoted || *p != '>'); p++) {
			quoted ^= *p == '"';
			if (*p == '<')
				return "a tag inside a tag";
		}
		if (*p == '\0')
			return "a tag that does not end";
		if (closing) {
			if (depth == 0 || length[depth - 1] != (size_t)(end - name) ||
			    memcmp(open[depth - 1], name, length[depth - 1]) != 0)
				return "an end that does not match";
			depth--;
		} else {
			roots += depth == 0;
			if (p[-1] == '/')
				continue;
			if (depth == 32)
				return "too deep";
			open[depth] = name;
			length[depth++] = (size_t)(end - name);
		}
	}
	return depth != 0 ? "a tag is not closed" : roots != 1 ? "not one root" : NULL;
}

#endif
