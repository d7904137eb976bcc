/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * inherited             loads the allocator in every way, prints which descriptors were open before and after, becomes
 * inherited tell        and prints all that a program inherits over exec, but for process numbers
 *
 * With and without the library it must print the same.
 */
#include <dirent.h>
#include <linux/mempolicy.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include "shadow.h"
#include "threads.h"

enum { OUT_OF_THE_WAY = 200 }; /* where stats_print keeps its copy of stderr */

static void tell_descriptors(const char *when)
{
	DIR *folder = opendir("/proc/self/fd");
	struct dirent *entry;

	CHECK(folder != NULL);
	printf("descriptors %s:", when);
	while ((entry = readdir(folder)) != NULL) {
		int fd = atoi(entry->d_name);

		if (entry->d_name[0] != '.' && fd != dirfd(folder) && fd < OUT_OF_THE_WAY)
			printf(" %d", fd);
	}
	closedir(folder);
	puts("");
	fflush(stdout);
}

static void *work(void *seed)
{
	struct shadow s;

	shadow_open(&s, 2000, 4u << 20, (uint64_t)(uintptr_t)seed + 1);
	shadow_steps(&s, 5000);
	shadow_close(&s);
	return NULL;
}

static void load(void)
{
	pthread_t threads[3];
	FILE *sink = fopen("/dev/null", "we");
	pid_t pid;

	CHECK(sink != NULL);
	for (uintptr_t i = 0; i < 3; i++)
		threads[i] = thread_start(work, (void *)i);
	for (int i = 0; i < 3; i++)
		thread_join(threads[i]);
	malloc_trim(0);
	malloc_info(0, sink);
	fclose(sink);
	(void)mallinfo2();
	pid = fork();
	if (pid == 0) {
		work((void *)9);
		_exit(0);
	}
	expect_clean_exit(pid);
}

static void tell_file(const char *path, const char *const *lines)
{
	FILE *file = fopen(path, "re");
	char line[512];

	if (file == NULL)
		return;
	while (fgets(line, sizeof(line), file) != NULL) {
		for (int i = 0; lines[i] != NULL; i++) {
			if (strncmp(line, lines[i], strlen(lines[i])) == 0)
				fputs(line, stdout);
		}
	}
	fclose(file);
}

static int tell(void)
{
	static const char *const status[] = {"Umask",	   "SigBlk",  "SigIgn",	       "SigCgt",	"ShdPnd", "Cap",
					     "NoNewPrivs", "Seccomp", "Cpus_allowed:", "Mems_allowed:", "Groups", NULL};
	static const char *const all[] = {"", NULL};
	struct itimerval timer[3];
	int policy = -1;

	tell_descriptors("after exec");
	tell_file("/proc/self/status", status);
	tell_file("/proc/self/limits", all);
	tell_file("/proc/self/coredump_filter", all);
	tell_file("/proc/self/oom_score_adj", all);
	tell_file("/proc/self/timerslack_ns", all);
	for (char **variable = environ; *variable != NULL; variable++)
		puts(*variable);
	syscall(SYS_get_mempolicy, &policy, NULL, 0, NULL, 0);
	for (int i = 0; i < 3; i++)
		CHECK(getitimer((__itimer_which_t)i, &timer[i]) == 0);
	printf("policy %d, personality %#x, nice %d, timers %ld %ld %ld\n", policy, (unsigned)personality(0xffffffff),
	       getpriority(PRIO_PROCESS, 0), timer[0].it_value.tv_sec, timer[1].it_value.tv_sec,
	       timer[2].it_value.tv_sec);
	printf("huge pages off %d, dumpable %d, subreaper %d\n", prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0),
	       prctl(PR_GET_DUMPABLE), prctl(PR_GET_CHILD_SUBREAPER, &policy) == 0 ? policy : -1);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc > 1)
		return tell();
	tell_descriptors("at the start");
	load();
	tell_descriptors("at the end");
	unsetenv("LD_PRELOAD");
	unsetenv("NEARMALLOC_CONF");
	execl("/proc/self/exe", argv[0], "tell", (char *)NULL);
	return 127;
}
