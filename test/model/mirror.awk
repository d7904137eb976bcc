# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
#
# awk -v name=FUNCTION -f mirror.awk FILE: the atomic operations of a function, C or Promela, in their order, each with
# the word that it is on. What a model has for broken variants only is left out.

/^#.*(BROKEN|SPARE)_/ {
	if (!variant++)
		nested = 0
	skipping = !/!defined/
	next
}
variant && /^#(if|ifdef|ifndef)/ { nested++ }
variant && /^#(else|elif)/ && !nested { skipping = !skipping; next }
variant && /^#endif/ {
	if (nested)
		nested--
	else {
		variant = skipping = 0
		next
	}
}
skipping { next }
/^[a-zA-Z_]/ && !/;$/ && $0 ~ "(^|[^a-z_])" name "\\(" { inside = 1 }
inside { text = text " " $0 }
inside && /^}/ { exit }

# The first argument of a call whose text this begins with, without what is in brackets, but for the thread of a model.
function word_of(rest,   i, c, depth, word) {
	sub(/^\(me, */, "(", rest)
	for (i = 2; i <= length(rest); i++) {
		c = substr(rest, i, 1)
		if (!depth && (c == "," || c == ")"))
			break
		depth += c ~ /[[(]/
		if (!depth)
			word = word c
		depth -= c ~ /[])]/
	}
	gsub(/.*[^a-zA-Z_]/, "", word)
	return word
}

END {
	while (match(text, /(load|store|cas|exchange|fetch_add|fetch_sub|fetch_or)_[a-z_]+\(|fence_seq_cst\(/)) {
		operation = substr(text, RSTART, RLENGTH - 1)
		text = substr(text, RSTART + RLENGTH - 1)
		if (operation ~ /_(plain|at)$/)
			continue
		word = operation ~ /^fence/ ? "" : word_of(text)
		if (sub(/_halves$/, "", operation))
			word = "whose"
		sub(/_address$/, "_relaxed", operation)
		print operation, word
	}
}
