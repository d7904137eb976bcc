/* SPDX-License-Identifier: MIT */
/* Copyright (c) 2026 the nearmalloc authors */
/*
 * A supervisor by seccomp and ptrace: the filter stops a thread at each call of calls[], and the supervisor lets it pass or
 * puts an error in its place. Threads and forked children are supervised alike. x86-64.
 */
#include <elf.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "trace.h"

enum { RANGES = 16, TASKS = 256, PAGE = 4096, STACK_PAGES = 5 };

struct range {
	uintptr_t from, to;
};

/* Executable mappings of one file. */
struct text {
	unsigned count;
	struct range range[RANGES];
};

static struct supervisor {
	const struct plan *plan;
	struct run *run;
	const char *preload;
	struct text library, others; /* others: but libc, the loader and the kernel's */
	pid_t tasks[TASKS];	     /* that may be alive */
	unsigned count;
	bool text_changes, hung;
} s;

static void die(const char *what)
{
	perror(what);
	exit(2);
}

/* ---- the child until it is the program -------------------------------------------------------------- */

static void install_filter(void)
{
	struct sock_filter code[2 * CALLS + 2];
	struct sock_fprog program = {.filter = code};
	unsigned short n = 0;

	code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (unsigned i = 0; i < CALLS; i++) {
		code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)calls[i].number, 0, 1);
		code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE);
	}
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	program.len = n;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		die("seccomp");
}

static _Noreturn void become(char *const *argv, const char *preload, int output)
{
	dup2(output, 1);
	dup2(output, 2);
	setenv("LD_PRELOAD", preload, 1);
	if (ptrace(PTRACE_TRACEME, 0, 0, 0))
		die("ptrace");
	raise(SIGSTOP);
	install_filter();
	execv(argv[0], argv);
	die(argv[0]);
	_exit(2);
}

/* ---- whose call it is -------------------------------------------------------------------------------- */

static bool is_libcs(const char *line)
{
	return strstr(line, "/libc.so") || strstr(line, "/ld-linux") || strstr(line, "[v");
}

static void read_text(pid_t pid)
{
	char line[600], path[32];
	FILE *maps;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	maps = fopen(path, "re");
	s.library.count = s.others.count = 0;
	while (maps && fgets(line, sizeof(line), maps)) {
		struct text *text = strstr(line, s.preload) ? &s.library : &s.others;
		struct range range;

		if (!is_libcs(line) && strstr(line, " r-xp ") && text->count < RANGES &&
		    sscanf(line, "%lx-%lx", &range.from, &range.to) == 2)
			text->range[text->count++] = range;
	}
	if (maps)
		fclose(maps);
}

static bool is_in(const struct text *text, uintptr_t address)
{
	for (unsigned i = 0; i < text->count; i++) {
		if (address >= text->range[i].from && address < text->range[i].to)
			return true;
	}
	return false;
}

/* Refused rseq or futex libc ends the program, so of these only what the library calls itself. */
static bool is_the_librarys(pid_t pid, uintptr_t stack, long number)
{
	uintptr_t words[STACK_PAGES * PAGE / sizeof(uintptr_t)];
	struct iovec here = {words, sizeof(words)}, there[STACK_PAGES];
	ssize_t bytes;

	if (!s.library.count)
		return false;
	for (unsigned i = 0; i < STACK_PAGES; i++) {
		uintptr_t from = i ? (stack & ~(uintptr_t)(PAGE - 1)) + i * PAGE : stack;

		there[i] = (struct iovec){(void *)from, PAGE - from % PAGE};
	}
	bytes = process_vm_readv(pid, &here, 1, there, STACK_PAGES, 0);
	if (number == SYS_rseq || number == SYS_futex)
		return bytes > 0 && is_in(&s.library, words[0]);
	for (ssize_t i = 0; i < bytes / (ssize_t)sizeof(words[0]); i++) {
		if (is_in(&s.library, words[i]) || is_in(&s.others, words[i]))
			return is_in(&s.library, words[i]);
	}
	return false;
}

/* ---- answering ---------------------------------------------------------------------------------------- */

static int find_call(long number)
{
	for (unsigned i = 0; i < CALLS; i++) {
		if (calls[i].number == number)
			return (int)i;
	}
	return -1;
}

static bool shall_fail(int call)
{
	const struct plan *plan = s.plan;
	unsigned index = s.run->seen[call]++;

	return call == plan->call && index >= plan->index && index - plan->index < plan->times &&
	       s.run->phase < PHASE_RECOVER;
}

static void put_result(pid_t pid, struct user_regs_struct *regs, long result)
{
	regs->orig_rax = -1ull; /* no call */
	regs->rax = (unsigned long long)result;
	ptrace(PTRACE_SETREGS, pid, 0, regs);
}

/* The program's own words: where it is, or a question. */
static void answer_program(pid_t pid, struct user_regs_struct *regs)
{
	int call = find_call((long)regs->rdx);

	if (regs->rsi <= PHASE_RECOVER)
		s.run->phase = (unsigned)regs->rsi;
	else if (call >= 0)
		put_result(pid, regs,
			   regs->rsi == PHASE_MADE ? s.run->seen[call]
			   : call == s.plan->call  ? s.run->injected
						   : 0);
}

static void answer(pid_t pid)
{
	struct user_regs_struct regs;
	int call;

	if (ptrace(PTRACE_GETREGS, pid, 0, &regs))
		return; /* killed meanwhile */
	if (regs.orig_rax == SYS_prctl && regs.rdi == PHASE_CALL) {
		answer_program(pid, &regs);
		return;
	}
	if (s.text_changes || !s.library.count)
		read_text(pid);
	s.text_changes = regs.orig_rax == SYS_mmap && regs.rdx & PROT_EXEC;
	call = find_call((long)regs.orig_rax);
	if (regs.orig_rax == SYS_futex && (regs.rsi & FUTEX_CMD_MASK) == FUTEX_WAKE)
		return;
	if (call < 0 || !is_the_librarys(pid, regs.rsp, calls[call].number) || !shall_fail(call))
		return;
	put_result(pid, &regs, -s.plan->error);
	s.run->injected++;
}

/* ---- tasks -------------------------------------------------------------------------------------------- */

static void add_task(pid_t pid)
{
	for (unsigned i = 0; i < s.count; i++) {
		if (s.tasks[i] == pid)
			return;
	}
	if (s.count < TASKS)
		s.tasks[s.count++] = pid;
}

static void drop_task(pid_t pid)
{
	for (unsigned i = 0; i < s.count; i++) {
		if (s.tasks[i] == pid)
			s.tasks[i] = s.tasks[--s.count];
	}
}

static void kill_all(int signal)
{
	(void)signal;
	s.hung |= signal == SIGALRM;
	for (unsigned i = 0; i < s.count; i++)
		kill(s.tasks[i], SIGKILL);
}

/* What a stopped task is to be given as it goes on: a signal of the program's, or nothing. */
static int look_at(pid_t pid, int status)
{
	int signal = WSTOPSIG(status), event = status >> 16;
	unsigned long message;

	if (event == PTRACE_EVENT_SECCOMP) {
		answer(pid);
		return 0;
	}
	if (event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_VFORK || event == PTRACE_EVENT_CLONE) {
		if (!ptrace(PTRACE_GETEVENTMSG, pid, 0, &message))
			add_task((pid_t)message);
		return 0;
	}
	return event || signal == SIGSTOP || signal == SIGTRAP ? 0 : signal;
}

static void supervise(pid_t first)
{
	const long options = PTRACE_O_TRACESECCOMP | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
			     PTRACE_O_EXITKILL;
	int status;
	pid_t pid;

	if (waitpid(first, &status, __WALL) != first || ptrace(PTRACE_SETOPTIONS, first, 0, options))
		die("the first stop");
	add_task(first);
	ptrace(PTRACE_CONT, first, 0, 0);
	/* All there are, also those who outlive the first. */
	while ((pid = waitpid(-1, &status, __WALL)) > 0 || errno == EINTR) {
		if (pid <= 0)
			continue;
		if (!WIFSTOPPED(status)) {
			drop_task(pid);
			if (pid == first) {
				s.run->status = status;
				kill_all(0);
			}
			continue;
		}
		add_task(pid);
		ptrace(PTRACE_CONT, pid, 0, look_at(pid, status));
	}
}

/* ---- the run ------------------------------------------------------------------------------------------ */

static enum outcome judge(const struct run *run)
{
	if (s.hung)
		return OUTCOME_HUNG;
	if (WIFSIGNALED(run->status))
		return OUTCOME_KILLED;
	switch (WEXITSTATUS(run->status)) {
	case 0:
		return run->injected ? OUTCOME_WORKED : OUTCOME_NOT_REACHED;
	case 3:
		return OUTCOME_REFUSED;
	case 127:
		return run->phase == PHASE_START ? OUTCOME_ENDED : OUTCOME_WRONG;
	default:
		return OUTCOME_WRONG;
	}
}

static void keep_end(int output, char *kept)
{
	off_t size = lseek(output, 0, SEEK_END);
	off_t from = size > OUTPUT_BYTES - 1 ? size - (OUTPUT_BYTES - 1) : 0;
	ssize_t n = pread(output, kept, OUTPUT_BYTES - 1, from);

	kept[n > 0 ? n : 0] = '\0';
}

void trace_run(const struct plan *plan, char *const *argv, const char *preload, unsigned seconds, struct run *run)
{
	struct sigaction on_alarm = {.sa_handler = kill_all};
	int output = memfd_create("output", MFD_CLOEXEC);
	pid_t pid;

	*run = (struct run){.status = -1};
	s = (struct supervisor){.plan = plan, .run = run, .preload = preload};
	sigaction(SIGALRM, &on_alarm, NULL);
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0)
		become(argv, preload, output);
	alarm(seconds);
	supervise(pid);
	alarm(0);
	run->outcome = judge(run);
	keep_end(output, run->output);
	close(output);
}
