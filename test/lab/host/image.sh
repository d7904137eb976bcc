# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
#
# The root file system of a machine, in cpio archives one behind the other: what is always there, made once and kept
# in $cache; the modules of the kernel; and what this run needs. Not compressed, since the machine is slower at that
# than at reading.
# shellcheck shell=bash disable=SC2034,SC2154

inside_path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

# new_stage DIR: an empty image to put files into; the folders of programs are laid out as on Debian.
new_stage() {
	local d
	stage=$1
	declare -gA staged=()
	for d in bin sbin lib lib64; do
		mkdir -p "$stage/usr/$d"
		ln -s "usr/$d" "$stage/$d"
	done
	mkdir -p "$stage"/{dev,etc,lab,proc,root,sys,tmp,var/tmp}
	chmod 1777 "$stage/tmp" "$stage/var/tmp"
}

# pack DIR FILE
pack() {
	(cd "$1" && find . -mindepth 1 -print0 | busybox cpio -o -0 -H newc -R 0:0 2>/dev/null) >"$2.new" && mv "$2.new" "$2"
}

##
## Files of this machine
##

# walk PATH: makes the folders and the links on the way to it, as they are here, in the image; the file or folder
# where it ends is then in $real.
walk() {
	local rest=$1/ part link
	real=
	while [ -n "$rest" ]; do
		part=${rest%%/*} rest=${rest#*/}
		case $part in
		'' | .) ;;
		..) real=${real%/*} ;;
		*)
			if [ -L "$real/$part" ]; then
				link=$(readlink "$real/$part")
				[ -e "$stage$real/$part" ] || ln -sf "$link" "$stage$real/$part"
				[[ $link != /* ]] || real=
				rest=$link/$rest
			else
				real=$real/$part
				[ ! -d "$real" ] || [ -d "$stage$real" ] || mkdir -p "$stage$real"
			fi
			;;
		esac
	done
}

# put PATH...: files with what they need to run, or whole folders.
put() {
	local path file
	for path; do
		[[ $path == /* ]] || path=$PWD/$path
		walk "$path"
		file=$real
		case $file in
		/proc/* | /sys/* | /dev/*) continue ;; # the machine has its own
		esac
		[ -z "${staged[$file]-}" ] || continue
		staged[$file]=yes
		if [ -d "$file" ]; then
			while IFS= read -r -d '' path; do
				put "$path"
			done < <(find "$file" -mindepth 1 -maxdepth 1 -print0)
		elif [ -f "$file" ]; then
			cp --remove-destination --preserve=mode,timestamps "$file" "$stage$file" || complain "cannot copy $file"
			put_needs "$file"
		fi
	done
}

# What a program or a script needs to start.
put_needs() {
	local first lib words
	IFS= LC_ALL=C read -r -n 200 first <"$1" 2>/dev/null
	case $first in
	$'\177ELF'*)
		while IFS= read -r lib; do
			put "$lib"
		done < <(ldd "$1" 2>/dev/null | sed -nE 's/^\t(.* => )?(\/.*) \(0x[0-9a-f]*\)$/\2/p')
		;;
	'#!'*)
		read -ra words <<<"${first#??}"
		[ "${words[0]##*/}" != env ] || put_program "${words[1]-}"
		put_program "${words[0]}"
		;;
	esac
}

# put_program NAME: unless it is one of busybox's.
put_program() {
	local file
	[ "$architecture" = x86_64 ] || return
	! busybox --list | grep -qxF -e "${1##*/}" || return
	file=$(type -P -- "$1") && put "$file"
}

# The files of libraries that are loaded by name.
library_files() {
	local name
	[ "$architecture" = x86_64 ] || return # put_packages has them
	for name; do
		PATH=$PATH:/sbin:/usr/sbin ldconfig -p | sed -n "s|^\t${name//./\\.} (libc6,x86-64.*=> ||p" | head -n 1
	done
}

##
## The parts of the image
##

# Sets $base_cpio, the part that is the same for all runs. The dd is for the machine's init.
need_base() {
	local files=() key lock
	if [ "$architecture" = x86_64 ]; then
		mapfile -t files < <(type -P busybox numactl dd && library_files libc.so.6 libgcc_s.so.1 libnuma.so.1)
		files+=(/etc/ld.so.cache)
	fi
	key=$(sha256sum -- "${files[@]}" "$lab/host/image.sh" | sha256sum)
	base_cpio=$cache/base-$architecture-${key%% *}.cpio
	[ ! -e "$base_cpio" ] || return 0
	mkdir -p "$cache"
	exec {lock}>"$cache/.lock"
	flock "$lock"
	if [ ! -e "$base_cpio" ]; then
		find "$cache" -maxdepth 1 -name "base-$architecture-*" -mmin +60 -delete
		new_stage "$tmp/base"
		if [ "$architecture" = x86_64 ]; then
			put "${files[@]}"
		else
			(put_packages "$stage") >"$tmp/packages.log" 2>&1 </dev/null ||
				complain "Debian's packages for $architecture could not be fetched: $(tail -n 1 "$tmp/packages.log")"
		fi
		busybox --list | while read -r applet; do
			[ -e "$stage/usr/bin/$applet" ] || ln -s busybox "$stage/usr/bin/$applet"
		done
		echo root:x:0:0:root:/root:/bin/sh >"$stage/etc/passwd"
		echo root:x:0: >"$stage/etc/group"
		pack "$stage" "$base_cpio" || complain "cannot write $base_cpio"
	fi
	exec {lock}>&-
}

# put_packages DIR: the same programs and libraries, of another architecture.
put_packages() {
	local package
	open_private_apt "$tmp/packages" "bookworm bookworm-backports" &&
		private_apt apt-get -q download busybox-static coreutils numactl libc6 libgcc-s1 libnuma1 liburcu8 || return
	for package in *.deb; do
		dpkg-deb -x "$package" root || return
	done
	rm -rf root/usr/lib/*/gconv
	cp -a root/bin/busybox root/bin/dd root/usr/bin/numactl "$1/usr/bin" && cp -a root/lib/* root/usr/lib/* "$1/usr/lib"
}

# make_image MACHINE: sets $initrd.
make_image() {
	local names
	initrd=$tmp/initrd
	need_base
	new_stage "$tmp/stage"
	mapfile -t names < <(sed -n 's/.*dlopen("\([^"]*\)".*/\1/p' "$top"/src/os/*.c)
	mapfile -t names < <(library_files "${names[@]}")
	put "$library" "${names[@]}" "${added[@]}"
	if [ -n "$suite" ]; then
		put_suite "$1"
	else
		put_command "${command[@]}"
	fi
	cp "$lab/guest/init" "$stage/init"
	printf '%s\n' "machine='$1'" "offline='$offlined'" "PATH=$inside_path" >"$stage/lab/settings"
	{ pack "$stage" "$tmp/run.cpio" && cat "$base_cpio" ${modules_cpio:+"$modules_cpio"} "$tmp/run.cpio" >"$initrd"; } ||
		complain "cannot write to $tmp"
}

# put_command WORD...
put_command() {
	local word name settings=()
	for word in "$@" "${environment[@]}"; do
		put_named "$word"
	done
	word=$1
	if [[ $word != */* ]]; then
		put_program "$word"
		# Where it is not searched for inside.
		! name=$(type -P -- "$word") || [[ :$inside_path: == *":${name%/*}:"* ]] || word=$name
	fi
	shift
	for name in NEARMALLOC_CONF GLIBC_TUNABLES; do
		[ -z "${!name+set}" ] || settings+=("$name=${!name}")
	done
	walk "$PWD"
	{
		# shellcheck disable=SC2016 # for the shell inside
		printf 'cd%s && exec env -i PATH="$PATH" HOME="$HOME"' "$(quote "$PWD")"
		quote "${settings[@]}" "${environment[@]}" "$word" "$@"
		echo
	} >"$stage/lab/command"
}

# The files that a word names, alone or as NAME=FILE:FILE.
put_named() {
	local files file
	IFS=: read -r -d '' -a files < <(printf '%s\0' "${1#*=}")
	for file in "$1" "${files[@]}"; do
		[ ! -f "$file" ] || put "$file"
	done
}

quote() {
	local word
	for word; do
		printf " '%s'" "${word//\'/\'\\\'\'}"
	done
}

# put_suite MACHINE
put_suite() {
	local file for_machines
	mkdir -p "$stage/lab/bin" "$stage/lab/suite"
	for file in "$programs"/lab-*; do
		[ ! -x "$file" ] || { cp "$file" "$stage/lab/bin" && put_needs "$file"; }
	done
	for file in "$lab"/suite/*.sh; do
		for_machines=$(sed -n 's/^# machines: *//p' "$file")
		[[ -z $for_machines || " $for_machines " == *" $1 "* ]] || continue
		[ "$form" = long ] || ! grep -q '^# form: *long' "$file" || continue
		cp "$file" "$stage/lab/suite"
	done
	cp "$lab/guest/suite" "$stage/lab/run-suite"
	put_command env "LAB_MACHINE=$1" "LAB_FORM=$form" LAB_BIN=/lab/bin "NEAR_LIB=$library" sh /lab/run-suite
}
