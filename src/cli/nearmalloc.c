/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * The `nearmalloc` command: runs a program under the allocator.
 *
 * It is not linked with the library, it only finds it: beside itself when an installed tree was moved, then where
 * it was configured to be, then in the build tree.
 */
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LIBRARY        "libnearmalloc.so.0"
#define EXIT_USAGE     2
#define EXIT_NOT_RUN   126
#define EXIT_NOT_FOUND 127

static const char bindir[] = NEAR_BINDIR, libdir[] = NEAR_LIBDIR;

static const char usage[] = "usage: nearmalloc run [--stats] [--] COMMAND [ARGUMENT]...\n"
			    "       nearmalloc --version | --help\n"
			    "\n"
			    "  run      run COMMAND with nearmalloc as its malloc\n"
			    "  --stats  and let it write a report on stderr at its end\n"
			    "\n"
			    "Options of the allocator stand in NEARMALLOC_CONF, see nearmalloc(3).\n";

/* A path or a list; one that does not fit is cut off and says so. */
struct text {
	char at[4 * PATH_MAX];
	bool cut;
};

__attribute__((format(printf, 2, 3))) static const char *print(struct text *text, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(text->at, sizeof(text->at), format, args);
	va_end(args);
	text->cut = n < 0 || (size_t)n >= sizeof(text->at);
	return text->at;
}

static int fail(int status, const char *what, const char *why)
{
	fprintf(stderr, "nearmalloc: %s: %s\n", what, why);
	return status;
}

/* Folder of this program, without a slash at its end. */
static bool own_folder(char *path, size_t size)
{
	ssize_t n = readlink("/proc/self/exe", path, size - 1);
	char *slash;

	if (n <= 0)
		return false;
	path[n] = '\0';
	slash = strrchr(path, '/');
	if (!slash)
		return false;
	*slash = '\0';
	return true;
}

/* Length of what two paths share, in whole components. */
static size_t common_length(const char *a, const char *b)
{
	size_t i = 0, common = 0;

	for (; a[i] && a[i] == b[i]; i++) {
		if (a[i] == '/')
			common = i;
	}
	return common;
}

/* Where the library is when bindir became `folder`: the prefix that bindir and libdir share was exchanged. */
static const char *moved_library(struct text *path, const char *folder)
{
	size_t common = common_length(bindir, libdir);
	const char *tail = bindir + common;
	size_t length = strlen(folder), tail_length = strlen(tail);

	if (length < tail_length || strcmp(folder + length - tail_length, tail) != 0)
		return NULL;
	return print(path, "%.*s%s/" LIBRARY, (int)(length - tail_length), folder, libdir + common);
}

static bool usable(const struct text *path)
{
	return !path->cut && access(path->at, R_OK) == 0;
}

static bool find_library(struct text *path)
{
	char folder[PATH_MAX];
	bool known = own_folder(folder, sizeof(folder));

	if (known && moved_library(path, folder) && usable(path))
		return true;
	print(path, "%s/" LIBRARY, libdir);
	if (usable(path))
		return true;
	if (!known)
		return false;
	print(path, "%s/.libs/" LIBRARY, folder);
	return usable(path);
}

/* Sets a variable to `value`, or to both with a separator when the variable has a value already; ours stands first if `front`. */
static bool extend(const char *name, char separator, const char *value, bool front)
{
	static struct text text;
	const char *old = getenv(name);

	if (!old || !*old)
		print(&text, "%s", value);
	else
		print(&text, "%s%c%s", front ? value : old, separator, front ? old : value);
	return !text.cut && setenv(name, text.at, 1) == 0;
}

static int run(char **argv)
{
	static struct text library;
	bool stats = false;

	for (; *argv && **argv == '-'; argv++) {
		if (strcmp(*argv, "--") == 0) {
			argv++;
			break;
		}
		if (strcmp(*argv, "--stats") != 0)
			return fail(EXIT_USAGE, *argv, "no such option");
		stats = true;
	}
	if (!*argv)
		return fail(EXIT_USAGE, "run", "which command?");
	if (!find_library(&library))
		return fail(EXIT_FAILURE, LIBRARY, "not found");
	if (strpbrk(library.at, " :"))
		return fail(EXIT_FAILURE, library.at, "the linker takes no path with blanks or colons");
	if (!extend("LD_PRELOAD", ':', library.at, true) ||
	    (stats && !extend("NEARMALLOC_CONF", '\n', "stats_print:true", false)))
		return fail(EXIT_FAILURE, "environment", "too long");
	execvp(argv[0], argv);
	return fail(errno == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_RUN, argv[0], strerror(errno));
}

int main(int argc, char **argv)
{
	if (argc >= 2 && strcmp(argv[1], "run") == 0)
		return run(argv + 2);
	if (argc == 2 && strcmp(argv[1], "--version") == 0)
		return printf("nearmalloc %s\n", PACKAGE_VERSION) < 0;
	if (argc == 2 && strcmp(argv[1], "--help") == 0)
		return fputs(usage, stdout) < 0;
	fputs(usage, stderr);
	return EXIT_USAGE;
}
