# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
#
# Finds the critical sections of a library, traces them, and breaks them on purpose. To be sourced.
# shellcheck shell=bash disable=SC2034,SC2154
. "$NEAR_SRC/test/lib.sh"

# list_points LIBRARY: for each descriptor in __rseq_cs a line
#   KIND FUNCTION START END ABORT ADDRESS...
# where the addresses are those of the instructions from the one that an abort goes back to, which arms the section, to
# the first behind the commit. KIND is the name of the inlined section, FUNCTION that of the function it is part of.
# $prefix is that of the binutils.
list_points() {
	local library=$1 where=0 offset size value start length abort
	local -A relocated=()
	read -r where offset size < <("${prefix}readelf" -SW "$library" |
		sed -nE 's/.* __rseq_cs +PROGBITS +([0-9a-f]+) ([0-9a-f]+) ([0-9a-f]+) .*/0x\1 0x\2 0x\3/p')
	[ -n "$where" ] || return
	while read -r value abort; do
		relocated[$((0x$value))]=$abort
	done < <("${prefix}readelf" -rW "$library" | awk '$3 ~ /_RELATIV/ { print $1, $4 }')
	"${prefix}objdump" -d --no-show-raw-insn "$library" | sed -nE 's/^ *([0-9a-f]+):\t(.*)/\1 \2/p' >instructions
	while read -r _ start length abort; do
		start=${relocated[$((where + 8))]-$start} abort=${relocated[$((where + 24))]-$abort}
		where=$((where + 32))
		echo "$(names_at $((0x$start))) $(printf '%x %x %x' $((0x$start)) $((0x$start + 0x$length)) $((0x$abort)))"
	done < <(od -An -v -t x8 -w32 -j "$offset" -N "$size" "$library") >sections
	# The abort handler is a branch to where the section is armed.
	awk 'NR == FNR { at[FNR] = $1; line[$1] = FNR; target[$1] = $3; next }
		{
			for (i = line[target[$5]]; i <= line[$4]; i++)
				$0 = $0 " " at[i]
			print
		}' instructions sections
}

# The innermost and the outermost function of an address.
names_at() {
	"${prefix}addr2line" -fie "$library" "$(printf '%x' "$1")" |
		awk 'NR == 1 { sub("section_", ""); kind = $1 } NR % 2 { last = $1 } END { print kind, last }'
}

##
## Runs, by run_tracer VARIABLE=VALUE... -- ARGUMENT...: whoever sources this says how; it sets status and writes the
## file log.
##

only=() # of the tracer's options

# traced NAME OPTIONS FILE [VARIABLE=VALUE]...: all sections $rounds times; those that were not reached go to the file.
traced() {
	local name="trace: $1" conf=janitor:off,$2 unreached=$3
	shift 3
	run_tracer "$@" NEARMALLOC_CONF="$conf" -- -l "$library" -r "$rounds" "${only[@]}" points
	sed -n 's/^unreached //p' log | sort >"$unreached"
	case $status in
	0 | 3) ok "$name: $(tail -n 1 log)" ;;
	*) not_ok "$name" "status $status" "$(tail -n 5 log)" ;;
	esac
}

all_reached() {
	expect_nothing "trace: every instruction of every section was reached" "$(comm -12 "$1" "$2")"
}

##
## Controls: variants of the section in malloc or free. One whose aborts are missing is noticed as such, and all of them
## by what becomes of the blocks.
##
controls() {
	local unarmed push_first pop_first
	local short='s/2f - 1f/7f - 1f/; /commit/ s/"(mov|movq|str) /"7:\\t\1 /'
	local violation='block_words|not true|bytes are allocated|signal|ended|hangs'
	case $machine in
	x86_64)
		unarmed='/mov %\[table\], %%fs:8/d'
		push_first='/mov %\[object\], \(%\[cursor\]\)/ { h; d }; /commit/ { s/\\n"/\\n\\t"/; G }'
		pop_first='/commit/ { s/\\n"/\\n\\t"/; s/$/\n"mov 8(%[cursor]), %[object]\\n"/ }'
		;;
	aarch64)
		unarmed='/str %\[bin\], \[%\[rseq\], #8\]/d'
		push_first='/str %\[object\], \[%\[cursor\]\]/ { h; d }; /commit/ { s/\\n"/\\n\\t"/; G }'
		pop_first='/commit/ { s/\\n"/\\n\\t"/; s/$/\n"ldr %[object], [%[cursor], #8]\\n"/ }'
		;;
	esac
	control "nothing" free '' ' aborts seen' -r 1
	control "no section is armed" malloc "$unarmed" "it was not aborted"
	control "no section is armed" malloc "$unarmed" "$violation" -i
	control "no section is armed" free "$unarmed" "$violation" -i
	control "sections end before the commit" malloc "$short" "$violation"
	control "sections end before the commit" free "$short" "$violation"
	control "pop commits before the object is read" malloc "/section_pop/,/return/ { $pop_first }" "$violation"
	control "push commits before the slot is stored" free "/section_push/,/return/ { $push_first }" "$violation"
}

# control NAME FUNCTION SED EXPECTED [OPTION]...: the header of the sections is edited for one function of libc.c, and
# the tracer must fail and say something like the pattern. With no edit it must not fail.
control() {
	local name="control: $1, in $2" function=$2 script=$3 expected=$4 want=1 file
	[ -n "$script" ] || want=0
	[ "${5-}" != -i ] || name+=", aborts not looked at"
	shift 4
	file=variant-$(cksum <<<"$script" | cut -d ' ' -f 1)
	[ -e "libnearmalloc-$file.so" ] || variant "$script" "libnearmalloc-$file.so" >variant.log 2>&1 ||
		{ not_ok "$name" "does not build" "$(tail -n 5 variant.log)" && return; }
	[ -e "points-$file" ] || list_points "libnearmalloc-$file.so" >"points-$file"
	run_tracer NEARMALLOC_CONF=janitor:off,numa:off -- -l "$PWD/libnearmalloc-$file.so" -r 20 -f "$function" "$@" \
		"points-$file"
	if [ "$status" -eq $want ] && grep -qE "$expected" log; then
		ok "$name: $(tail -n 2 log | paste -sd ' ')"
	else
		not_ok "$name" "status $status" "$(tail -n 5 log)"
	fi
}

# variant SED FILE: the library with src/abi/libc.c compiled anew.
variant() {
	local flags header=arch/$machine/sections.h
	flags=$(sed -n 's/^NEAR_CFLAGS = //p' "$build/Makefile")
	rm -rf src
	cp -r "$NEAR_SRC/src" src
	sed -i -E "$1" "src/$header"
	[ -z "$1" ] || ! cmp -s "src/$header" "$NEAR_SRC/src/$header" || { echo "the edit applies to nothing" && return 1; }
	# shellcheck disable=SC2046,SC2086
	$compiler $flags -O2 -g -fPIC -DPIC -include "$build/config.h" -Isrc -I"$NEAR_SRC/include" -c src/abi/libc.c \
		-o libc.o &&
		$compiler -shared -pthread -Wl,--version-script="$NEAR_SRC/src/abi/nearmalloc.map" -Wl,-z,nodelete \
			-Wl,-Bsymbolic-functions libc.o $(find "$build/src" -path '*/.libs/*.o' ! -name libc.o) -o "$2"
}
