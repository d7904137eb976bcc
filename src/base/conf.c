/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* The table of options and its parser. */
#include "base/conf.h"

#include <string.h>

#include "base/bits.h"
#include "base/format.h"

struct conf near__conf = {
	.depot_cache = 32 * MIB,
	.extent_cache = 64 * MIB,
};

enum kind { KIND_CHOICE, KIND_SIZE };

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
	{"confirm_conf", &near__conf.confirm_conf, KIND_CHOICE, BOOLEAN},
	{"depot_cache", &near__conf.depot_cache, KIND_SIZE, NULL},
	{"extent_cache", &near__conf.extent_cache, KIND_SIZE, NULL},
	{"foreign", &near__conf.foreign, KIND_CHOICE, "abort|ignore"},
	{"numa", &near__conf.numa, KIND_CHOICE, "auto|on|off"},
	{"percpu_cache", &near__conf.percpu_cache, KIND_SIZE, NULL},
	{"rseq", &near__conf.rseq, KIND_CHOICE, "auto|on|off"},
	{"stats_print", &near__conf.stats_print, KIND_CHOICE, BOOLEAN},
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

static bool parse_size(struct word w, uint64_t *value)
{
	static const char suffixes[] = "KMGT";
	uint64_t n = 0;
	size_t i = 0;

	for (; i < w.length && w.start[i] >= '0' && w.start[i] <= '9'; i++) {
		if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, (uint64_t)(w.start[i] - '0'), &n))
			return false;
	}
	if (!i || w.length - i > 1)
		return false;
	if (i < w.length) {
		const char *suffix = memchr(suffixes, w.start[i] & ~0x20, sizeof(suffixes) - 1);

		if (!suffix || __builtin_mul_overflow(n, 1ull << (10 * (suffix - suffixes + 1)), &n))
			return false;
	}
	*value = n;
	return true;
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
		near__text_add(&line, " for %s (want %s); kept as it was", option->key,
			       option->kind == KIND_SIZE ? "a size such as 64K or 8M" : option->choices);
	complain(source, buffer);
}

static void apply(struct word entry, const char *source, conf_complaint *complain)
{
	const char *colon = memchr(entry.start, ':', entry.length), *end = entry.start + entry.length;
	struct word key = trim(entry.start, colon ? colon : end);
	struct word value = trim(colon ? colon + 1 : end, end);
	const struct option *option = find(key);

	if (option && (option->kind == KIND_SIZE ? parse_size(value, option->value)
						 : parse_choice(value, option->choices, option->value)))
		source_of[option - options] = source;
	else
		complain_about(complain, source, option, key, value);
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
		while (stop < end && *stop != ',' && *stop != '\n')
			stop++;

		struct word entry = trim(text, stop);

		if (entry.length)
			apply(entry, source, complain);
		text = stop < end ? stop + 1 : end;
	}
}

bool near__conf_describe(unsigned i, struct text *out)
{
	if (i >= ARRAY_LEN(options))
		return false;

	const struct option *option = &options[i];

	near__text_add(out, "%s:", option->key);
	if (option->kind == KIND_SIZE) {
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
