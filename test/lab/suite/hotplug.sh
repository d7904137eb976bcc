# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
# machines: 4nodes 2nodes hotplug cpuless newest
#
# CPUs that are switched off and on while threads allocate, and CPUs that come online only after the start.
# shellcheck shell=dash disable=SC2086
# shellcheck source=test/lab/suite/lib.sh
. "${0%/*}/lib.sh"

cpus=/sys/devices/system/cpu
seconds=4
! long || seconds=20

# The CPUs but the first that can be switched.
switchable=
for file in "$cpus"/cpu[1-9]*/online; do
	[ ! -w "$file" ] || switchable="$switchable $(expr "$file" : '.*/cpu\([0-9]*\)/')"
done
if [ -z "$switchable" ]; then
	echo "skip CPUs that come and go # no CPU can be switched off"
	exit 0
fi

switch_cpu() {
	echo "$2" 2>/dev/null >"$cpus/cpu$1/online"
}

# All in turn, until the file is gone; how often stands in it then.
switcher() {
	count=0
	while [ -e "$1" ]; do
		for cpu in $switchable; do
			[ -e "$1" ] || break
			switch_cpu "$cpu" 0 && count=$((count + 1))
			usleep 20000
			switch_cpu "$cpu" 1
		done
	done
	for cpu in $switchable; do
		switch_cpu "$cpu" 1
	done
	echo $count >"$1.count"
}

# CPUs that were offline when the machine started are so still for the first program.
late=
for cpu in $switchable; do
	[ "$(cat $cpus/cpu$cpu/online)" = 1 ] || late="$late $cpu"
done
if [ -z "$late" ]; then
	for cpu in $switchable; do
		late=$cpu # the last, which is on another node than the first
	done
	switch_cpu $late 0
fi
(
	sleep 1
	for cpu in $late; do
		switch_cpu $cpu 1
	done
) &
try "CPUs that come online find their node" 60 $near $LAB_BIN/lab-churn $((seconds + 1)) $late
wait

for conf in rseq:auto rseq:off; do
	flag=/tmp/switching.$conf
	: >$flag
	switcher $flag &
	try "CPUs that come and go, $conf" 60 $near NEARMALLOC_CONF=$conf $LAB_BIN/lab-churn $seconds
	rm -f $flag
	wait
	if [ "$(cat $flag.count)" -ge 3 ]; then
		echo "ok they did, $conf"
	else
		echo "not ok they did, $conf"
		echo "  switched off $(cat $flag.count) times"
	fi
	long || break
done
