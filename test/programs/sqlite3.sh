#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages: sqlite3
# timeout: 120
#
# The sqlite3 shell: bulk inserts, indexes, joins, sorts, deletes and VACUUM
# give the answers they give under glibc; two writers share one database.

. "${0%/*}/lib.sh"
need sqlite3

# The workload; ends in answers that depend on every row.
statements() {
	cat <<-'SQL'
	PRAGMA journal_mode = WAL;
	PRAGMA cache_size = -8000;
	PRAGMA temp_store = MEMORY;
	CREATE TABLE item(id INTEGER PRIMARY KEY, shelf INTEGER, name TEXT, body BLOB);
	WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 120000)
		INSERT INTO item SELECT i, i * 7919 % 997, printf('item-%08x', i * 2654435761 % 4294967296),
			zeroblob(i * 31 % 700) FROM n;
	CREATE INDEX by_shelf ON item(shelf, name);
	CREATE TABLE shelf AS SELECT shelf, count(*) AS items, sum(length(body)) AS bytes,
		group_concat(name) AS names FROM item GROUP BY shelf;
	SELECT count(*), sum(items), sum(bytes), sum(length(names)) FROM shelf;
	SELECT i.name, s.items FROM item i JOIN shelf s USING (shelf) WHERE i.id % 997 = 5 ORDER BY i.name DESC LIMIT 50;
	SELECT sum(rank * id) FROM (SELECT id, row_number() OVER (PARTITION BY shelf ORDER BY name) AS rank FROM item);
	BEGIN; DELETE FROM item WHERE id % 3 = 0; UPDATE item SET body = name || body, shelf = shelf + 1 WHERE id % 7 = 0; COMMIT;
	CREATE TABLE tree AS SELECT json_group_array(json_object('id', id, 'name', name)) AS doc FROM item WHERE id < 30000;
	SELECT count(*), sum(json_extract(value, '$.id')) FROM tree, json_each(tree.doc);
	VACUUM;
	SELECT count(*), sum(id * length(body)), min(name), max(name) FROM item;
	PRAGMA integrity_check;
	SQL
}

# On stdin of sqlite3: the shell's own memory map has the library.
look() {
	echo ".system grep -F -m1 -c ' $near' /proc/\$PPID/maps"
}

answers() {
	statements | near sqlite3 -batch "$dir/a.db" >"$dir/answers" 2>"$dir/sqlite3.log" &&
		grep -qx ok "$dir/answers" && cmp "$tmp/expected" "$dir/answers"
}

# Two shells insert into one table, 200 transactions each.
writers() {
	local job writer status=0

	sqlite3 "$dir/b.db" 'PRAGMA journal_mode = WAL; CREATE TABLE t(writer, i, pad);' || return 1
	for writer in 1 2; do
		{
			echo ".timeout 60000"
			for ((i = 0; i < 200; i++)); do
				echo "BEGIN IMMEDIATE; INSERT INTO t SELECT $writer, $i, hex(randomblob(50 + value)) FROM generate_series(1, 3); COMMIT;"
			done
		} >"$dir/writer$writer.sql"
		launch sqlite3 -batch -bail "$dir/b.db" <"$dir/writer$writer.sql" 2>>"$dir/writers.log"
	done
	for job in $(jobs -p); do
		wait "$job" || status=1
	done
	[[ $status = 0 && $(near sqlite3 "$dir/b.db" 'PRAGMA integrity_check; SELECT count(*) FROM t;' 2>>"$dir/writers.log") = $'ok\n1200' ]]
}

mapped() {
	[[ $(look | near sqlite3 -batch :memory: 2>"$dir/mapped.log") = 1 ]]
}

run() {
	check in-use mapped
	check bound binds sqlite3 :memory: 'SELECT 1;'
	check answers answers
	check two-writers writers
}

statements | plain sqlite3 -batch "$tmp/glibc.db" >"$tmp/expected" || exit 2
each_mode run
