# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
#
# What the files in machines/ say, and qemu's arguments for it. Such a file is bash; its first comment says what the
# machine is for, and it calls
#
#   kernel VERSION         6.12 (the default), 6.1, 7.3, or with a flavour 6.12-16k
#   architecture aarch64   not x86-64; what the command names must be for it, too
#   node CPUS MEMORY       the next node: its CPUs as 0-1,4 and its memory in MiB, or none
#   distances N...         a row of the matrix of distances, from node 0 on; all rows or none
#   present CPUS           the CPUs that are plugged in; the others are possible (default: all are plugged in)
#   offline CPU...         CPUs, by the kernel's numbers, that are taken offline before the command
#   boot_words WORD...     for the command line of the kernel
#   one_thread             all CPUs in one thread of this machine: they run in turns of 0.1 s and never together
# shellcheck shell=bash disable=SC2034,SC2154

read_machine() {
	kernel=6.12 architecture=x86_64 nodes_cpus=() nodes_memory=() rows=() plugged='' offlined='' kernel_words='' threads=multi
	# shellcheck source=/dev/null
	. "$lab/machines/$1"
}

kernel() {
	kernel=$1
}
architecture() {
	architecture=$1
}
node() {
	nodes_cpus+=("${1#none}")
	nodes_memory+=("${2#none}")
}
distances() {
	rows+=("$*")
}
present() {
	plugged=$1
}
offline() {
	offlined=$*
}
boot_words() {
	kernel_words=$*
}
one_thread() {
	threads=single
}

list_machines() {
	local m
	for m in "$lab"/machines/*; do
		printf '%-12s %s\n' "${m##*/}" "$(sed -n '1s/^# //p' "$m")"
	done
}

# numbers 0-2,5: 0 1 2 5
numbers() {
	local part
	for part in ${1//,/ }; do
		seq "${part%-*}" "${part#*-}"
	done
}

# Sets $emulator and $arguments. 16-byte compare-and-swap is left out on x86-64 because qemu 7.2 does it wrongly, and then
# the kernel's own heap breaks.
machine_arguments() {
	local k i options cpus=0 memory=0 first='' even=yes
	local -a row
	emulator=qemu-system-$architecture
	arguments=(-machine pc -cpu max,cx16=off)
	[ "$architecture" = x86_64 ] || arguments=(-machine virt -cpu max)
	for k in "${!nodes_cpus[@]}"; do
		options=node,nodeid=$k
		[ -z "${nodes_cpus[k]}" ] || options+=,cpus=${nodes_cpus[k]//,/,cpus=}
		if [ -n "${nodes_memory[k]}" ]; then
			arguments+=(-object "memory-backend-ram,id=memory$k,size=${nodes_memory[k]}M")
			options+=,memdev=memory$k
			memory=$((memory + nodes_memory[k]))
		fi
		arguments+=(-numa "$options")
		i=$(numbers "${nodes_cpus[k]}" | wc -l)
		cpus=$((cpus + i))
		[ "$i" -eq "${first:=$i}" ] || even=
	done
	for k in "${!rows[@]}"; do
		read -ra row <<<"${rows[k]}"
		for i in "${!row[@]}"; do
			[ "$i" -eq "$k" ] || arguments+=(-numa "dist,src=$k,dst=$i,val=${row[i]}")
		done
	done
	arguments+=(-m "${memory}M")
	if [ -n "$plugged" ]; then
		# One by one, as -smp would plug in the first ones. CPU 0 is there anyway.
		arguments+=(-smp "1,maxcpus=$cpus,sockets=$cpus,cores=1")
		for i in $(numbers "$plugged"); do
			[ "$i" -eq 0 ] || arguments+=(-device "max-x86_64-cpu,socket-id=$i,core-id=0,thread-id=0")
		done
	elif [ -n "$even" ]; then
		arguments+=(-smp "$cpus,sockets=${#nodes_cpus[@]},cores=$first")
	else
		arguments+=(-smp "$cpus,sockets=$cpus,cores=1")
	fi
}
