/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* The table of options and its parser. */
#include "base/conf.h"

#include <string.h>

#include "base/bits.h"
#include "base/format.h"

struct conf near__conf = {
	.decay_ms = 10000,
	.extent_cache = 64 * MIB,
	.retain_max = 32 * MIB,
};

enum kind { KIND_CHOICE, KIND_SIZE, KIND_NUMBER, KIND_NODES };

/* `choices` are the accepted words, in the order of their numbers. */
struct option {
	const char *key;
	uint64_t *value;
	enum kind kind;
	const char *choices;
};

#define BOOLEAN "false|true"

static const struct option options[] = {
	{"abort_conf", &near__conf.abort_conf, KIND_CHOICE, BOOLEAN},
	{"cache_ttl", &near__conf.cache_ttl, KIND_NUMBER, NULL},
	{"confirm_conf", &near__conf.confirm_conf, KIND_CHOICE, BOOLEAN},
	{"decay_ms", &near__conf.decay_ms, KIND_NUMBER, NULL},
	{"depot_cache", &near__conf.depot_cache, KIND_SIZE, NULL},
	{"extent_cache", &near__conf.extent_cache, KIND_SIZE, NULL},
	{"foreign", &near__conf.foreign, KIND_CHOICE, "abort|ignore"},
	{"initial_pool", &near__conf.initial_pool, KIND_SIZE, NULL},
	{"janitor", &near__conf.janitor, KIND_CHOICE, "auto|on|off"},
	{"limit_hard", &near__conf.limit_hard, KIND_SIZE, NULL},
	{"limit_soft", &near__conf.limit_soft, KIND_SIZE, NULL},
	{"max_caches", &near__conf.max_caches, KIND_NUMBER, NULL},
	{"nodes", near__conf.nodes, KIND_NODES, NULL},
	{"numa", &near__conf.numa, KIND_CHOICE, "auto|on|off"},
	{"numa_strict", &near__conf.numa_strict, KIND_CHOICE, BOOLEAN},
	{"percpu_cache", &near__conf.percpu_cache, KIND_SIZE, NULL},
	{"purge", &near__conf.purge, KIND_CHOICE, "now|free"},
	{"remote_free", &near__conf.remote_free, KIND_CHOICE, "home|adopt"},
	{"retain_max", &near__conf.retain_max, KIND_SIZE, NULL},
	{"rseq", &near__conf.rseq, KIND_CHOICE, "auto|on|off"},
	{"stats_print", &near__conf.stats_print, KIND_CHOICE, BOOLEAN},
	{"thp", &near__conf.thp, KIND_CHOICE, "auto|always|never"},
};

static const char *source_of[ARRAY_LEN(options)];

struct word {
	const char *start;
	size_t length;
};

static bool word_is(struct word w, const char *s, size_t n)
{
	return w.length == n && !memcmp(w.start, s, n);
}

static struct word trim(const char *start, const char *end)
{
	while (start < end && (unsigned char)*start <= ' ')
		start++;
	while (end > start && (unsigned char)end[-1] <= ' ')
		end--;
	return (struct word){start, (size_t)(end - start)};
}

static bool parse_choice(struct word w, const char *choices, uint64_t *value)
{
	for (uint64_t number = 0;; number++) {
		size_t n = strcspn(choices, "|");

		if (word_is(w, choices, n)) {
			*value = number;
			return true;
		}
		if (!choices[n])
			return false;
		choices += n + 1;
	}
}

static bool parse_size(struct word w, const char *suffixes, uint64_t *value)
{
	uint64_t n = 0;
	size_t i = 0;

	for (; i < w.length && w.start[i] >= '0' && w.start[i] <= '9'; i++) {
		if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, (uint64_t)(w.start[i] - '0'), &n))
			return false;
	}
	if (!i || w.length - i > 1)
		return false;
	if (i < w.length) {
		const char *suffix = memchr(suffixes, w.start[i] & ~0x20, strlen(suffixes));

		if (!suffix || __builtin_mul_overflow(n, 1ull << (10 * (suffix - suffixes + 1)), &n))
			return false;
	}
	*value = n;
	return true;
}

/* "all" takes an earlier choice back. */
static bool parse_nodes(struct word w, uint64_t *value)
{
	uint64_t nodes[CONF_NODE_WORDS] = {0};
	const char *list = w.start, *end = w.start + w.length;
	unsigned long first, last;

	if (!w.length)
		return false;
	while (!word_is(w, "all", 3) && list < end) {
		while (list < end && (*list == ' ' || *list == '\t'))
			list++;
		if (!near__range_next(&list, end, &first, &last) || last >= CONF_NODE_WORDS * 64)
			return false;
		near__bits_set(nodes, (unsigned)first, (unsigned)(last - first + 1));
	}
	memcpy(value, nodes, sizeof(nodes));
	return true;
}

static bool parse(const struct option *option, struct word value)
{
	switch (option->kind) {
	case KIND_CHOICE:
		return parse_choice(value, option->choices, option->value);
	case KIND_SIZE:
		return parse_size(value, "KMGT", option->value);
	case KIND_NUMBER:
		return parse_size(value, "", option->value);
	case KIND_NODES:
		return parse_nodes(value, option->value);
	}
	return false;
}

static const char *wanted(const struct option *option)
{
	static const char *const forms[] = {
		[KIND_SIZE] = "a size such as 64K or 8M",
		[KIND_NUMBER] = "a number",
		[KIND_NODES] = "a list of nodes such as 0-1,3, or all",
	};

	return option->kind == KIND_CHOICE ? option->choices : forms[option->kind];
}

static const struct option *find(struct word key)
{
	for (size_t i = 0; i < ARRAY_LEN(options); i++) {
		if (word_is(key, options[i].key, strlen(options[i].key)))
			return &options[i];
	}
	return NULL;
}

/* Text from outside, for a terminal. */
static void quote(struct text *line, struct word word)
{
	for (size_t i = 0; i < word.length && i < 80; i++) {
		unsigned char c = (unsigned char)word.start[i];

		near__text_add(line, "%c", c < ' ' || c >= 0x7f ? '?' : c);
	}
}

static void complain_about(conf_complaint *complain, const char *source, const struct option *option, struct word key,
			   struct word value)
{
	char buffer[256];
	struct text line = TEXT_IN(buffer);

	near__text_add(&line, option ? "bad value \"" : "unknown key \"");
	quote(&line, option ? value : key);
	near__text_add(&line, "\"");
	if (option)
		near__text_add(&line, " for %s (want %s); kept as it was", option->key, wanted(option));
	complain(source, buffer);
}

static void apply(struct word entry, const char *source, conf_complaint *complain)
{
	const char *colon = memchr(entry.start, ':', entry.length), *end = entry.start + entry.length;
	struct word key = trim(entry.start, colon ? colon : end);
	struct word value = trim(colon ? colon + 1 : end, end);
	const struct option *option = find(key);

	if (option && parse(option, value))
		source_of[option - options] = source;
	else
		complain_about(complain, source, option, key, value);
}

/* No key begins with a digit: that is the list of an option, such as nodes:0-1,3. */
static bool continues(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\t'))
		p++;
	return p < end && *p >= '0' && *p <= '9';
}

void near__conf_parse(const char *text, size_t length, const char *source, conf_complaint *complain)
{
	const char *end = text + length;

	while (text < end) {
		const char *stop = text;

		if ((unsigned char)*text <= ' ') {
			text++;
			continue;
		}
		if (*text == '#') { /* a comment, to the end of its line */
			while (text < end && *text != '\n')
				text++;
			continue;
		}
		while (stop < end && *stop != '\n' && (*stop != ',' || continues(stop + 1, end)))
			stop++;

		struct word entry = trim(text, stop);

		if (entry.length)
			apply(entry, source, complain);
		text = stop < end ? stop + 1 : end;
	}
}

static void describe_nodes(struct text *out, const uint64_t *nodes)
{
	const char *comma = "";
	unsigned most = CONF_NODE_WORDS * 64, at = bits_next_set(nodes, 0, most);

	if (at == most)
		near__text_add(out, "all");
	for (; at < most; comma = ",") {
		unsigned end = bits_next_clear(nodes, at, most);

		near__text_add(out, end - at > 1 ? "%s%u-%u" : "%s%u", comma, at, end - 1);
		at = bits_next_set(nodes, end, most);
	}
}

bool near__conf_describe(unsigned i, struct text *out)
{
	if (i >= ARRAY_LEN(options))
		return false;

	const struct option *option = &options[i];

	near__text_add(out, "%s:", option->key);
	if (option->kind == KIND_NODES) {
		describe_nodes(out, option->value);
	} else if (option->kind != KIND_CHOICE) {
		near__text_add(out, "%lu", *option->value);
	} else {
		const char *choice = option->choices;

		for (uint64_t n = *option->value; n; n--)
			choice = strchr(choice, '|') + 1;
		near__text_add(out, "%.*s", (int)strcspn(choice, "|"), choice);
	}
	near__text_add(out, " (%s)", source_of[i] ? source_of[i] : "default");
	return true;
}
