/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/* Small files, the standard error, and what the auxiliary vector tells. */
#include <fcntl.h>
#include <sys/auxv.h>
#include <sys/stat.h>

#include "base/bits.h"
#include "os/kernel.h"
#include "os/os.h"

size_t near__os_page_size = 4096;
bool near__os_secure;

#ifdef PIC
/* The linker's names for our tables: megabytes of which little is touched. */
extern char __bss_start[] HIDDEN, _end[] HIDDEN;
#endif

void near__os_start(void)
{
	size_t page = getauxval(AT_PAGESZ);

	if (page)
		near__os_page_size = page;
	near__os_secure = getauxval(AT_SECURE) != 0;
#ifdef PIC
	uintptr_t from = round_up((uintptr_t)__bss_start, near__os_page_size);

	near__os_huge((void *)from, round_down((uintptr_t)_end, near__os_page_size) - from, false);
	/* Below them lies what the loader has made read-only. */
	near__os_guard((void *)round_up((uintptr_t)_end, near__os_page_size));
#endif
}

long near__os_read_file(const char *path, char *buffer, size_t size)
{
	long fd = KERNEL(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), total = 0;

	if (fd < 0)
		return -1;
	while ((size_t)total < size - 1) {
		long n = KERNEL(SYS_read, fd, buffer + total, size - 1 - (size_t)total);

		if (n == -EINTR)
			continue;
		if (n <= 0)
			break;
		total += n;
	}
	KERNEL(SYS_close, fd);
	buffer[total] = '\0';
	return total;
}

int near__os_duplicate(int fd)
{
	enum { OUT_OF_THE_WAY = 200 };
	long copy = KERNEL(SYS_fcntl, fd, F_DUPFD_CLOEXEC, OUT_OF_THE_WAY);

	return copy < 0 ? -1 : (int)copy;
}

uint64_t near__os_identity(int fd)
{
	struct stat file;

	if (KERNEL(SYS_fstat, fd, &file))
		return 0;
	return ((uint64_t)file.st_dev << 40 ^ (uint64_t)file.st_ino) | 1;
}

int near__os_write(int fd, const char *text, size_t length)
{
	while (length) {
		long n = KERNEL(SYS_write, fd, text, length);

		if (n == -EINTR)
			continue;
		if (n < 0)
			return (int)-n;
		text += n;
		length -= (size_t)n;
	}
	return 0;
}
