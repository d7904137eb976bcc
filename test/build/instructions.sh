#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages: binutils
#
# The fast paths of malloc and free, as built: how many instructions a hit executes from the entry to the return,
# that none of them is a call, a division or has a lock prefix, and that either function fits on a screen. And all critical
# sections, of the slow paths too: how long they are, and that they end in their commit.
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

# Reads a disassembly, prints the verdict on its hit: `COUNT calls CALLS locks LOCKS divisions DIVISIONS`, or `none`.
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
		walk(1, 0, 0, 0, 0, 0, 0)
		print best ? best " calls " best_calls " locks " best_locks " divisions " best_divisions : "none"
	}
	# Where a jump leads to; 0: out of the function.
	function target(i,   word) {
		split(text[i], word, " ")
		return word[2] in at ? at[word[2]] : 0
	}
	function finish(n, commits, calls, locks, divisions) {
		if (!commits || (best && calls > best_calls) || (best && calls == best_calls && n <= best))
			return
		best = n
		best_calls = calls
		best_locks = locks
		best_divisions = divisions
	}
	# From instruction i on: n executed so far, of them so many calls and so on. A way back ends the path.
	function walk(i, n, armed, commits, calls, locks, divisions,   t) {
		while (i in text && !(i in on_path)) {
			t = text[i]
			n++
			if (t ~ /(^| )lock( |$)/ || t ~ /^xchg .*\(/)
				locks++
			if (t ~ /^(call|syscall)/)
				calls++
			if (t ~ /^i?div/)
				divisions++
			if (t ~ /^mov[a-z]* .*%[a-z0-9]+,%fs:0x8\(/)
				armed = 1
			else if (armed && t ~ /^(lock )?[a-z]+ .*,(0x[0-9a-f]+|-0x[0-9a-f]+)?\(%[^)]*\)$/ && t !~ /^(test|cmp|lea)/)
				commits++
			if (t ~ /^(repz? |bnd |notrack )*ret/) {
				finish(n, commits, calls, locks, divisions)
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
					walk(target(i), n, armed, commits, calls, locks, divisions)
				delete on_path[i]
			}
			i++
		}
	}'
}

# within MOST: whether the verdict on the disassembly is a hit of at most so many instructions.
within() {
	local n calls locks divisions
	read -r n _ calls _ locks _ divisions < <(hit)
	[ "$n" != none ] && [ "$n" -le "$1" ] && [ "$((calls + locks + divisions))" -eq 0 ]
}

verdict_on() {
	echo "found: instructions $(hit <<<"$2"), allowed: $1, and none of these"
}

SCREEN=50

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
		ok "instructions: a hit of $function takes at most $most, without call, lock and division"
	else
		not_ok "instructions: a hit of $function takes at most $most, without call, lock and division" \
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
	sed '1a div div %rcx' <<<"$code" | refused "$function" "$((most + 1))" "a division"
	grep -v '%fs:0x8(' <<<"$code" | refused "$function" "$most" "no section"
	lines=$(wc -l <<<"$code")
	if [ "$lines" -le $SCREEN ]; then
		ok "instructions: $function is on one screen"
	else
		not_ok "instructions: $function is on one screen" "$lines instructions in all, allowed: $SCREEN"
	fi
done <<'FUNCTIONS'
malloc 26
free 28
FUNCTIONS

##
## The sections, by their descriptors
##

# START LENGTH of each section, in hexadecimal.
descriptors() {
	local first
	first=$(objdump -h "$NEAR_LIB" | awk '$2 == "__rseq_cs" { print $4 }')
	{
		readelf -rW "$NEAR_LIB" | awk '$3 == "R_X86_64_RELATIVE" { print "at", $1, $4 }'
		objdump -s -j __rseq_cs "$NEAR_LIB" | awk -v first="$first" '/^ [0-9a-f]+ / { print "data", $1, $2 $3 $4 $5 }'
	} | awk '
	$1 == "at" { sub(/^0+/, "", $2); at[$2] = $3 }
	# A descriptor is two such lines: version, flags and start, which the relocation has; length and abort.
	$1 == "data" && ++n % 2 { start = at[plus(substr($2, 1), 8)] }
	$1 == "data" && n % 2 == 0 { print start, substr($3, 3, 2) substr($3, 1, 2) }
	# Addresses in hexadecimal are multiples of 16 here.
	function plus(address, digit) { return substr(address, 1, length(address) - 1) digit }
	'
}

# The instructions of all sections on stdin (START LENGTH), each with a line `end` behind it.
code_of_sections() {
	local start length
	while read -r start length; do
		objdump -d --no-show-raw-insn --start-address="0x$start" --stop-address="$((0x$start + 0x$length))" "$NEAR_LIB" |
			sed -nE 's/^ *[0-9a-f]+:\t//p'
		echo end
	done
}

SECTION_MOST=12

section_faults() {
	awk -v most=$SECTION_MOST '
	$0 == "end" {
		if (n < 4 || n > most)
			print "a section of " n + 0 " instructions, allowed: 4 to " most
		if (last !~ /^mov[a-z]* .*,(0x8)?\(%[a-z0-9]+,%[a-z0-9]+,8\)$/)
			print "a section that does not end in its commit, but in: " last
		n = 0
		sections++
		next
	}
	/(^| )lock( |$)|^xchg|^call|^syscall|^i?div|^ret|^push|^pop/ { print "not allowed in a section: " $0 }
	{ n++; last = $0 }
	END { if (sections < 6) print "sections: " sections + 0 }'
}

sections_refused() {
	if [ -n "$(section_faults)" ]; then
		ok "instructions: a section with $1 is refused"
	else
		not_ok "instructions: a section with $1 is refused"
	fi
}

code=$(descriptors | code_of_sections)
expect_nothing "instructions: sections have at most $SECTION_MOST, no call, lock and division, and end in a commit" \
	"$(section_faults <<<"$code")"
sed '0,/^movslq/ s/^movslq.*/&\nlock incl (%rax)/' <<<"$code" | sections_refused "a lock prefix"
sed "0,/^end/ s/^movslq.*/&$(printf '\\nnop%.0s' {1..9})/" <<<"$code" | sections_refused "nine more"
sed '0,/^end/ s/^end/nop\n&/' <<<"$code" | sections_refused "something behind its commit"
