#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages: binutils
#
# The fast paths of malloc and free, as built: how many instructions a hit executes from the entry to the return,
# and that none of them is a call or has a lock prefix.
#
# Every path through the function is walked, conditional jumps both ways, until it returns or leaves. A hit is a
# path that arms a restartable sequence, stores something in it (the commit) and returns; without a call, if there
# is one. Of several the longest counts, so that a path that cannot be taken errs on the safe side.
. "$NEAR_SRC/test/lib.sh"
need_commands objdump nm awk

case $(objdump -f "$NEAR_LIB" | sed -n 's/.*file format //p') in
elf64-x86-64) ;;
*)
	skip "instructions" "written for x86-64 only"
	exit 0
	;;
esac

# The disassembly of an exported function: `address instruction`, both of them bare.
disassembly() {
	local start size
	read -r start size < <(nm -DS --defined-only "$NEAR_LIB" | awk -v f="$1" '$4 == f { print $1, $2 }')
	[ -n "$size" ] || return
	objdump -d --no-show-raw-insn --start-address="0x$start" --stop-address="$((0x$start + 0x$size))" "$NEAR_LIB" |
		sed -nE 's/^ *([0-9a-f]+):\t/\1 /p'
}

# Reads a disassembly, prints the verdict on its hit: `COUNT calls CALLS locks LOCKS`, or `none`.
hit() {
	awk '
	{
		address[NR] = $1
		at[$1] = NR
		$1 = ""
		sub(/^ /, "")
		sub(/ *#.*/, "")
		text[NR] = $0
	}
	END {
		walk(1, 0, 0, 0, 0, 0)
		print best ? best " calls " best_calls " locks " best_locks : "none"
	}
	# Where a jump leads to; 0: out of the function.
	function target(i,   word) {
		split(text[i], word, " ")
		return word[2] in at ? at[word[2]] : 0
	}
	function finish(n, commits, calls, locks) {
		if (!commits || (best && calls > best_calls) || (best && calls == best_calls && n <= best))
			return
		best = n
		best_calls = calls
		best_locks = locks
	}
	# From instruction i on: n executed so far, of them so many calls and so on. A way back ends the path.
	function walk(i, n, armed, commits, calls, locks,   t) {
		while (i in text && !(i in on_path)) {
			t = text[i]
			n++
			if (t ~ /(^| )lock( |$)/ || t ~ /^xchg .*\(/)
				locks++
			if (t ~ /^(call|syscall)/)
				calls++
			if (t ~ /^mov[a-z]* .*%[a-z0-9]+,%fs:0x8\(/)
				armed = 1
			else if (armed && t ~ /^(lock )?[a-z]+ .*,(0x[0-9a-f]+|-0x[0-9a-f]+)?\(%[^)]*\)$/ && t !~ /^(test|cmp|lea)/)
				commits++
			if (t ~ /^(repz? |bnd |notrack )*ret/) {
				finish(n, commits, calls, locks)
				return
			}
			if (t ~ /^(hlt|ud2)/)
				return
			if (t ~ /^(bnd |notrack )*jmp/) {
				i = target(i)
				continue
			}
			if (t ~ /^(bnd )*j/) {
				on_path[i] = 1
				if (target(i))
					walk(target(i), n, armed, commits, calls, locks)
				delete on_path[i]
			}
			i++
		}
	}'
}

# within MOST: whether the verdict on the disassembly is a hit of at most so many instructions.
within() {
	local n calls locks
	read -r n _ calls _ locks < <(hit)
	[ "$n" != none ] && [ "$n" -le "$1" ] && [ "$calls" -eq 0 ] && [ "$locks" -eq 0 ]
}

verdict_on() {
	echo "found: instructions $(hit <<<"$2"), allowed: $1 calls 0 locks 0"
}

# refused FUNCTION MOST WHAT: the code on stdin, made worse on purpose, must not pass.
refused() {
	local code
	code=$(cat)
	if within "$2" <<<"$code"; then
		not_ok "instructions: $1 with $3 is refused" "$(verdict_on "$2" "$code")"
	else
		ok "instructions: $1 with $3 is refused"
	fi
}

while read -r function most; do
	code=$(disassembly "$function")
	if within "$most" <<<"$code"; then
		ok "instructions: a hit of $function takes at most $most, without call and lock"
	else
		not_ok "instructions: a hit of $function takes at most $most, without call and lock" \
			"$(verdict_on "$most" "$code")"
		printf '%s\n' "$code" | sed 's/^/  /'
		continue
	fi
	spare=$((most - $(hit <<<"$code" | cut -d ' ' -f 1)))
	padded() {
		head -n 1 <<<"$code"
		seq -f 'nop%g nop' "$1"
		tail -n +2 <<<"$code"
	}
	check "instructions: $function with $spare more is allowed" within "$most" < <(padded $spare)
	padded $((spare + 1)) | refused "$function" "$most" "$((spare + 1)) more"
	sed -E 's/ (mov +%[a-z0-9]+,\(%[a-z0-9]+,%[a-z0-9]+,8\))/ lock \1/' <<<"$code" | refused "$function" "$most" "a lock prefix"
	sed '1a call call 1234' <<<"$code" | refused "$function" "$most" "a call"
	grep -v '%fs:0x8(' <<<"$code" | refused "$function" "$most" "no section"
done <<'FUNCTIONS'
malloc 26
free 28
FUNCTIONS
