#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages: postgresql-15 util-linux
# timeout: 180
#
# postgres: a cluster is made by initdb, filled and exercised by pgbench
# through several backends, queried with sorts, hashes, JSON, regular
# expressions and parallel workers, crashed, recovered, and its checksums
# verified. As root all of it runs as the user postgres, or nobody.

. "${0%/*}/lib.sh"
PATH=$PATH:$(printf '%s:' /usr/lib/postgresql/*/bin)
need initdb postgres pgbench psql setpriv

as_unprivileged postgres || exit 2

sql() {
	timeout -k 5 90 psql -h "$dir" -U tester -d postgres -XAtq -v ON_ERROR_STOP=1 "$@" 2>>"$dir/psql.log"
}

# The cluster's directory, and initdb in it.
make_cluster() {
	mkdir "$dir/data" && chmod 700 "$dir/data" || return 1
	((EUID != 0)) || chown "$user" "$dir" "$dir/data"
	near "${as_user[@]}" initdb -D "$dir/data" -U tester -A trust -E UTF8 --locale=C -k --no-sync >"$dir/initdb.log" 2>&1
}

ready() {
	[[ $(sql -c 'SELECT 1') = 1 ]]
}

# Temporary space in memory small enough that sorts and hashes spill to disk,
# no fsync (nothing here outlives the check), and every query worth it parallel.
start() {
	serve "$dir/server.log" "${as_user[@]}" postgres -D "$dir/data" -k "$dir" -c listen_addresses= \
		-c fsync=off -c max_connections=40 -c shared_buffers=32MB -c work_mem=2MB \
		-c min_parallel_table_scan_size=0 -c parallel_setup_cost=0 -c parallel_tuple_cost=0 -c jit=off
	await 40 ready && uses "$server" $(pgrep -P "$server")
}

# A backend that a client talks to has the library.
backend() {
	sql -c "SELECT pg_read_file('/proc/self/maps')" | grep -qF " $near"
}

bench() {
	timeout -k 5 60 pgbench -h "$dir" -U tester postgres "$@" >>"$dir/pgbench.log" 2>&1
}

# What tellers, branches, accounts and history must agree on.
balanced() {
	[[ $(sql -c "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history)
		AND (SELECT sum(tbalance) FROM pgbench_tellers) = (SELECT sum(bbalance) FROM pgbench_branches)
		AND (SELECT sum(bbalance) FROM pgbench_branches) = (SELECT sum(delta) FROM pgbench_history)
		AND (SELECT count(*) FROM pgbench_history) > 100") = t ]]
}

transactions() {
	bench -i -s 3 -q && bench -n -c 8 -j 2 -t 250 && bench -n -c 8 -j 2 -t 150 -C -S &&
		bench -n -c 4 -j 2 -T 3 -M prepared && balanced
}

# Answers known in advance.
queries() {
	sql >"$dir/answers.txt" <<-'SQL' && diff - "$dir/answers.txt" <<-'EXPECTED'
	CREATE TABLE word AS SELECT i, md5(i::text) AS w, repeat(chr(97 + i % 26), i % 300) AS pad FROM generate_series(1, 150000) i;
	CREATE INDEX ON word(w);
	ANALYZE word;
	SELECT count(*), sum(length(pad)) FROM word;
	SELECT count(*) FROM word a JOIN word b ON a.w = b.w AND a.i = b.i;
	SELECT sum(n * i) FROM (SELECT i, row_number() OVER (ORDER BY i DESC) AS n FROM word) s;
	SELECT count(DISTINCT left(w, 2)), bool_and(w ~ '^([0-9a-f]{8}){4}$') FROM word;
	SELECT length(string_agg(w, ',' ORDER BY w)) FROM word;
	SELECT sum((e->>'i')::bigint) FROM jsonb_array_elements((SELECT jsonb_agg(to_jsonb(s)) FROM (SELECT i, w FROM word WHERE i <= 40000) s)) e;
	CREATE FUNCTION depth(n int) RETURNS int LANGUAGE plpgsql AS 'BEGIN IF n = 0 THEN RETURN 0; END IF; RETURN 1 + depth(n - 1); END';
	SELECT depth(300);
	DO 'BEGIN PERFORM 1 / 0; EXCEPTION WHEN division_by_zero THEN NULL; END';
	DELETE FROM word WHERE i % 2 = 0;
	VACUUM FULL word;
	SELECT count(*) FROM word;
	SQL
	150000|22425000
	150000
	562511250050000
	256|t
	4949999
	800020000
	300
	75000
	EXPECTED
}

# All backends die at once; the log is replayed by the next server.
crash() {
	sql -c 'CHECKPOINT' && bench -n -c 4 -t 100 || return 1
	stop "$server" QUIT
	start && balanced && grep -q 'automatic recovery in progress\|redo starts' "$dir/server.log"
}

# A fast shutdown by SIGINT, then all pages are read.
end() {
	stop "$server" INT && near "${as_user[@]}" pg_checksums --check -D "$dir/data" >"$dir/checksums.log" 2>&1 &&
		grep -q '^Bad checksums: *0$' "$dir/checksums.log" &&
		! grep -E 'PANIC|was terminated by signal' "$dir/server.log"
}

run() {
	check bound binds "$(command -v postgres)" --version
	check initdb make_cluster || return
	check start start || return
	check in-use backend
	check pgbench transactions
	check queries queries
	check crash crash
	check end end
}

each_mode run
