#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages: strace
#
# No file is written, no descriptor stays open, and a program that is executed inherits nothing.
. "$NEAR_SRC/test/lib.sh"
. "$NEAR_SRC/test/common/lib.sh"
. "$NEAR_SRC/test/common/variant.sh"

plainly() {
	env -u LD_PRELOAD -u NEARMALLOC_CONF "$@"
}

# With the same environment otherwise, which the program prints too.
with_library() {
	# shellcheck disable=SC2046
	env $(mode_env "${CONF:-}") LD_PRELOAD="$1" timeout 60 "$BIN/inherited"
}

inherits_nothing() {
	local name="security: nothing is inherited over exec${CONF:+, $CONF} ($mode)" said
	# shellcheck disable=SC2046
	plainly env $(mode_env | grep -o 'GLIBC_TUNABLES=.*') timeout 60 "$BIN/inherited" >without
	if ! with_library "$NEAR_LIB" >with 2>err; then
		not_ok "$name" "$(cat with err)"
	elif said=$(diff without with); then
		ok "$name"
	else
		not_ok "$name" "$said"
	fi
}

# Of what strace says of opening, without the memory files of /proc: what may write, what would be inherited.
written() {
	grep -E '^[0-9]+ +(open|creat|memfd|mkdir|unlink|rename|socket|truncate|mknod)[a-z0-9_]*\(' "$1" |
		grep -vE 'O_RDONLY|"/dev/null"'
}
not_closed() {
	grep -E '^[0-9]+ +(open[a-z0-9]*\(|dup[0-9]*\(|fcntl.*F_DUPFD)' "$1" | grep -v CLOEXEC
}

# The janitor and stats_print too.
writes_nothing() {
	# shellcheck disable=SC2046
	timeout 60 strace -f -qq -o calls -E "$(mode_env "${CONF:-}")" -E LD_PRELOAD="$1" "$BIN/inherited" >/dev/null 2>&1
	grep -q 'execve("/proc/self/exe"' calls
}

for CONF in "" janitor:on stats_print:true rseq:on; do
	each_mode inherits_nothing
	mode=rseq
	if ! writes_nothing "$NEAR_LIB"; then
		skip "security: files${CONF:+, $CONF}" "strace cannot trace here"
		continue
	fi
	expect_nothing "security: no file is opened for writing${CONF:+, $CONF}" "$(written calls)"
	expect_nothing "security: every descriptor would be closed on exec${CONF:+, $CONF}" "$(not_closed calls)"
done

##
## Controls
##
CONF='' mode=rseq
# leaky NAME PATTERN FLAGS CHECK: a library that keeps a file open
leaky() {
	local name="control: $1 is noticed" pattern=$2 flags=$3 said
	shift 3
	if ! library_where leaky.so near__os_mark_forks '
		#include <fcntl.h>
		void __wrap_near__os_mark_forks(void);
		void __wrap_near__os_mark_forks(void) { open("'"$PWD/leak"'", '"$flags"', 0600); }'; then
		not_ok "$name" "does not build"
		return
	fi
	said=$("$@" 2>&1)
	check "$name" grep -qE "$pattern" <<<"$said"
}
look_written() {
	writes_nothing "$PWD/leaky.so"
	written calls
}
look_not_closed() {
	writes_nothing "$PWD/leaky.so"
	not_closed calls
}
: >leak
plainly "$BIN/inherited" >without
# differs LINE LIBRARY
differs() {
	with_library "$2" >with 2>&1
	diff without with | grep "^> $1"
}
leaky "a file that is kept open" "at the start.* 3" "O_RDONLY | O_CLOEXEC" differs descriptors "$PWD/leaky.so"
if strace -qq -o /dev/null true 2>/dev/null; then
	leaky "a file that is written" '/leak"' "O_WRONLY | O_CREAT | O_CLOEXEC" look_written
	leaky "a descriptor that is inherited" '/leak"' "O_RDONLY" look_not_closed
fi
altered() {
	local name="control: $1 is noticed"
	if library_where altered.so near__os_when_main_ends "$3"; then
		check "$name" differs "$2" "$PWD/altered.so"
	else
		not_ok "$name" "does not build"
	fi
}
altered "a file that is opened later" "descriptors at the end" '
	#include <fcntl.h>
	void __wrap_near__os_when_main_ends(void (*call)(void));
	void __wrap_near__os_when_main_ends(void (*call)(void)) { (void)call; open("/dev/null", O_RDONLY | O_CLOEXEC); }'
altered "a signal that is left ignored" SigIgn '
	#include <signal.h>
	void __wrap_near__os_when_main_ends(void (*call)(void));
	void __wrap_near__os_when_main_ends(void (*call)(void)) { (void)call; signal(SIGUSR2, SIG_IGN); }'
