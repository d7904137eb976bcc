#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# packages: nginx apache2-utils
# timeout: 150
#
# nginx: a master and two workers serve files of several sizes, plain,
# compressed, assembled from parts and through a proxy, to 32 connections,
# are told to reload under that load, and end without an error.

. "${0%/*}/lib.sh"
need nginx ab gzip

configuration() {
	cat <<-CONF
	daemon off;
	worker_processes 2;
	pid $dir/nginx.pid;
	error_log $dir/error.log notice;
	events { worker_connections 512; }
	http {
		access_log $dir/access.txt combined buffer=32k;
		client_body_temp_path $dir/t1;
		proxy_temp_path $dir/t2;
		fastcgi_temp_path $dir/t3;
		uwsgi_temp_path $dir/t4;
		scgi_temp_path $dir/t5;
		keepalive_requests 500;
		gzip_min_length 100;
		gzip_http_version 1.0;
		gzip_types *;
		map \$uri \$tag { default none; ~^/(?<name>[a-z]+)/ \$name; }
		proxy_cache_path $dir/cache keys_zone=small:1m max_size=8m;
		server {
			listen 127.0.0.1:$port;
			root $tmp/files;
			add_header X-Tag \$tag;
			location /plain/ { alias $tmp/files/; }
			location /zipped/ { alias $tmp/files/; gzip on; gzip_comp_level 4; }
			location /parts/ { alias $tmp/files/; ssi on; ssi_types *; }
			location ~ ^/through/(.*)\$ { proxy_pass http://127.0.0.1:$port/plain/\$1; }
			location ~ ^/cached/(.*)\$ {
				proxy_cache small;
				proxy_cache_valid 200 1s;
				proxy_pass http://127.0.0.1:$port/plain/\$1;
			}
			location /status { stub_status; }
		}
	}
	CONF
}

# fetch PATH [HEADER]: the body on stdout, whatever the status.
fetch() {
	exec 3<>"/dev/tcp/127.0.0.1/$port" || return 1
	printf 'GET %s HTTP/1.0\r\nHost: localhost\r\n%s\r\n' "$1" "${2:+$2$'\r\n'}" >&3
	sed '1,/^\r$/d' <&3
	exec 3>&-
} 2>>"$dir/fetch.log"

answers() {
	fetch /status | grep -q '^Active connections'
}

# Somebody may take the port between our look and nginx's bind: try others.
start() {
	local try

	port=$((20000 + RANDOM % 20000))
	for try in 1 2 3; do
		port=$(free_port $((port + 1)))
		configuration >"$dir/nginx.conf"
		serve "$dir/nginx.log" nginx -p "$dir" -c "$dir/nginx.conf" -e "$dir/error.log"
		await 10 answers && break
		stop "$server"
		grep -q 'Address already in use' "$dir/error.log" || return 1
	done
	uses "$server" $(workers)
}

# The workers, without those of an earlier configuration on their way out.
workers() {
	pgrep -P "$server" -f 'nginx: worker process$'
}

contents() {
	local file

	for file in 0 1 2 3 4 5; do
		fetch "/plain/$file.txt" | cmp "$tmp/files/$file.txt" - &&
			fetch "/through/$file.txt" | cmp "$tmp/files/$file.txt" - &&
			fetch "/cached/$file.txt" | cmp "$tmp/files/$file.txt" - || return 1
	done
	fetch /parts/whole.html | cmp "$tmp/files/whole.txt" - &&
		fetch /zipped/3.txt 'Accept-Encoding: gzip' | gzip -dc 2>"$dir/gzip.log" | cmp "$tmp/files/3.txt" -
}

# load COUNT PATH [OPTION...]: ab finds nothing failed.
load() {
	local count=$1 path=$2 log

	shift 2
	log=$dir/ab.$((++loads)).txt
	timeout -k 5 60 ab -q -n "$count" -c 32 "$@" "http://127.0.0.1:$port$path" >"$log" 2>&1
	if ! grep -q "^Complete requests: *$count\$" "$log" || ! grep -q '^Failed requests: *0$' "$log" ||
			grep '^Non-2xx' "$log"; then
		cat "$log"
		return 1
	fi
}

under_load() {
	load 20000 /plain/1.txt -k && load 8000 /plain/3.txt && load 500 /plain/5.txt -k &&
		load 6000 /zipped/3.txt -k -H 'Accept-Encoding: gzip' && load 5000 /parts/whole.html -k &&
		load 5000 /through/2.txt && load 500 /through/5.txt && load 5000 /cached/4.txt -k
}

# New workers take over while connections of the old ones are served.
reload_under_load() {
	local job old i

	old=$(workers)
	load 12000 /through/2.txt &
	job=$!
	for i in 1 2 3 4; do
		sleep 0.3
		kill -HUP "$server"
	done
	wait "$job" || return 1
	await 10 settled || return 1
	[[ $old != "$(workers)" ]] && uses "$server" $(workers)
}

settled() {
	[[ $(workers | wc -l) = 2 && $(pgrep -c -P "$server") -ge 2 ]]
}

end() {
	stop "$server" QUIT && ! grep -E '\[(alert|crit|emerg)\]|exited on signal|exited with code [^0]' "$dir/error.log"
}

run() {
	loads=0
	check bound binds nginx -v
	check start start || return
	check contents contents
	check under-load under_load
	check reload-under-load reload_under_load
	check contents-after contents
	check end end
}

mkdir "$tmp/files"
sizes=(0 100 5000 40000 200000 3000000)
for i in "${!sizes[@]}"; do
	seq -f "%.0f of file $i" 1000000 | head -c "${sizes[i]}" >"$tmp/files/$i.txt"
done
for i in 1 2 3 4; do
	printf '<!--# include virtual="/plain/%d.txt" -->' "$i"
done >"$tmp/files/whole.html"
cat "$tmp"/files/[1234].txt >"$tmp/files/whole.txt"
each_mode run
