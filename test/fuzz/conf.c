/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * The fuzzer of the configuration: an input is what stands in the environment or, by its first byte, in the file. What
 * was understood must read the same when it is told and given again; complaints must be fit for a terminal.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/conf.h"
#include "base/format.h"
#include "check.h"
#include "os/os.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned complaints;

static void complain(const char *source, const char *line)
{
	complaints++;
	CHECK(strcmp(source, "fuzz") == 0);
	CHECK(strlen(line) < 256);
	for (; *line; line++)
		CHECK(*line >= ' ' && *line < 0x7f);
}

static void parse(const char *text, size_t length)
{
	near__conf_parse(text, length, "fuzz", complain);
}

/* As at start: through a file, of which there is room for so much. */
static void parse_file(const uint8_t *data, size_t size)
{
	char path[64], room[4096];
	int fd = memfd_create("conf", 0);
	long length;

	CHECK(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	length = near__os_read_file(path, room, sizeof(room));
	CHECK(length >= 0 && room[length] == '\0');
	CHECK((size_t)length == (size < sizeof(room) ? size : sizeof(room) - 1));
	parse(room, (size_t)length);
	close(fd);
}

/* Without its terminating zero, at the end of a block of its own. */
static void parse_environment(const uint8_t *data, size_t size)
{
	size_t length = strnlen((const char *)data, size);
	char *text = malloc(length);

	memcpy(text, data, length);
	parse(text, length);
	free(text);
}

/* The values, as text that sets them; room for the longest list of nodes is in no line. */
static void check_told(void)
{
	struct conf before = near__conf;
	char line[8192];

	complaints = 0;
	for (unsigned i = 0;; i++) {
		struct text out = {.buffer = line, .size = sizeof(line)};
		char *end;

		if (!near__conf_describe(i, &out))
			break;
		end = strstr(line, " (");
		CHECK(end != NULL);
		parse(line, (size_t)(end - line));
	}
	CHECK(complaints == 0);
	CHECK(memcmp(&before, &near__conf, sizeof(before)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct conf untouched;
	static bool started;

	if (!started)
		untouched = near__conf;
	started = true;
	if (size == 0)
		return -1;
	near__conf = untouched;
	if (data[0] % 2 == 0)
		parse_environment(data + 1, size - 1);
	else
		parse_file(data + 1, size - 1);
	check_told();
	return 0;
}
