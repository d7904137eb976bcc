#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages: spin
# timeout: 900
#
# The lock-free steps, model by model, in all interleavings under the memories of x86-64 and arm64. The head of a model
# says what must become of it:
#
#   fails: BROKEN_X tso arm   broken like this an assertion fails, under these memories
#   hangs: BROKEN_X tso arm   or it ends where it should not
#   passes: SPARE_X tso arm   what could be weaker; in the long form
#
# And a function that a model mirrors has the same atomic operations as in the code, in their order.
#
#   test/model/model.sh [MODEL]...           these only
#   NEAR_MODEL_LONG=1 test/model/model.sh    more steps, CPUs and threads; ./dev model
NEAR_SRC=${NEAR_SRC:-$(cd "$(dirname "$0")/../.." && pwd)}
CC=${CC:-gcc}
. "$NEAR_SRC/test/lib.sh"
need_commands spin "$CC"

models=$NEAR_SRC/test/model
long=${NEAR_MODEL_LONG:+-DLONG}
limit=${NEAR_MODEL_LONG:+3000}
all=(litmus stack drain pagemap pool walk extent lock start)

##
## Models and code
##
mirrored() {
	local model=$1 source=$2 file function
	sed -nE '\,^/\* (src/[^ ]*) \*/$, { N; s,^/\* (src/[^ ]*) \*/\ninline ([a-z_]*)\(.*,\1 \2,p }' "$models/$model.pml" |
		while read -r file function; do
			awk -v name="$function" -f "$models/mirror.awk" "$source/$file" >code
			awk -v name="$function" -f "$models/mirror.awk" "$models/$model.pml" >copy
			[ -s code ] || echo "$file has no $function with atomic operations"
			diff copy code | sed -n "s|^[<>].*|$file $function: & (< model, > code)|p"
		done
}

# drifted NAME FILE SED: the model must notice the edit.
drifted() {
	local model=$1 file=$2
	mkdir -p edited && cp -r "$NEAR_SRC/src" edited/
	sed -i -E "$3" "edited/$file"
	if cmp -s "edited/$file" "$NEAR_SRC/$file" || [ -z "$(mirrored "$model" edited)" ]; then
		not_ok "control: $model: a change of $file goes unnoticed"
	else
		ok "control: $model: a change of $file is noticed"
	fi
}

##
## Runs
##

# explore MODEL MEMORY [VARIANT]: in a folder of its own; prints what came out in one line.
explore() {
	local at=$1-$2${3:+-$3} options="-D${2^^} $long ${3:+-D$3}" optimise=-O1
	[ -z "${3:-}" ] || [ -n "$long" ] || optimise=-O0 # such a run is shorter than the compiler's
	mkdir -p "$at" && cp "$models"/*.pml "$at" && cd "$at" || return
	# shellcheck disable=SC2086
	if ! spin -a $options "$1.pml" >log 2>&1 ||
		! "$CC" "$optimise" -w -DSAFETY -DCOLLAPSE -DMEMLIM=12000 pan.c -o pan >>log 2>&1; then
		echo "does not build: $(tail -n 1 log)"
		return
	fi
	timeout "${limit:-400}" ./pan -m200000 >out 2>&1
	awk '/^pan:1: assertion violated/ && !said { said = "fails: " $0 }
		/^pan:1: invalid end state/ && !said { said = "hangs: " $0 }
		/errors: / { errors = $NF; done = 1 }
		/states, stored/ { states = $1 }
		/max search depth too small|out of memory|reached -DMEMLIM|Search not completed/ { short = 1 }
		END {
			if (said ~ /stores<|depth too/)
				said = "bounds of the model: " said
			sub(/pan:1: /, "", said); sub(/ \(at depth.*/, "", said)
			print !done ? "ended early" : said ? said : short || errors ? "incomplete" : "passes: " states " states"
		}' out
	rm -f pan pan.* out
}

# judge NAME WANTED MODEL MEMORY [VARIANT]
judge() {
	local said
	said=$(explore "$3" "$4" "${5:-}")
	case $said in
	"$2: "*) ok "$1: ${said#*: }" ;;
	*) not_ok "$1" "$said" ;;
	esac
}

runs() {
	local model=$1 wanted variant memories memory
	for memory in arm tso; do
		echo "$model, $memory|passes|$model|$memory"
	done
	sed -nE 's/^ \* (fails|hangs|passes): +([A-Z_]+) +((tso|arm)( (tso|arm))?).*/\1 \2 \3/p' "$models/$model.pml" |
		while read -r wanted variant memories; do
			[ "$wanted" != passes ] || [ -n "$long" ] || continue
			for memory in $memories; do
				echo "control: $model, $memory, $variant|$wanted|$model|$memory|$variant"
			done
		done
}

[ $# -gt 0 ] || set -- "${all[@]}"
here=$(mktemp -d) && cd "$here" || exit
trap 'rm -rf "$here"' EXIT
for model; do
	grep -q '^/\* src/' "$models/$model.pml" || continue
	expect_nothing "$model: the code has the operations of the model" "$(mirrored "$model" "$NEAR_SRC")"
done
drifted stack src/meta/pool.c '/near__stack_pop/,/^}/ s/load_acquire/load_relaxed/'
drifted drain src/cache/drain.c '/store_release\(&LOCAL_BASE/d'
export NEAR_SRC CC models long limit
export -f explore judge ok not_ok
# shellcheck disable=SC2016
for model; do
	runs "$model"
done | xargs -P "$(nproc)" -d '\n' -n 1 bash -c 'IFS="|" read -ra run <<<"$1"; judge "${run[@]}"' -
