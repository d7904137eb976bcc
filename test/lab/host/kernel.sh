# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
#
# Debian's cloud kernels, as 6.1 (bookworm), 6.12 (bookworm-backports) and newer ones (trixie-backports), fetched by apt
# with a configuration of its own and kept in $cache/kernel. Nothing of the system is changed. Of the packages remain the
# kernel and modules.cpio, the drivers of the ports where they are modules. For other architectures Debian's programs come
# in the same way.
# shellcheck shell=bash disable=SC2034,SC2154

modules="virtio virtio_ring virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_console" # in this order

# need_kernel VERSION[-FLAVOUR]: such as 7.3, 7.0.9 or 6.12-16k. Sets $vmlinuz and $modules_cpio, or fails with the reason
# in $reason.
need_kernel() {
	local home=$cache/kernel/$1-$architecture lock
	vmlinuz=$vmlinuz_given modules_cpio=
	[ -z "$vmlinuz" ] || return 0
	vmlinuz=$home/vmlinuz modules_cpio=$home/modules.cpio
	[ ! -e "$vmlinuz" ] || return 0
	reason="$(uname -m) is not what the kernels are for"
	[ "$architecture" = aarch64 ] || [ "$(uname -m)" = x86_64 ] || return
	reason="kernels come as Debian packages, and apt is not here"
	command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || return
	mkdir -p "$cache/kernel"
	exec {lock}>"$cache/kernel/.lock"
	flock "$lock"
	[ -e "$vmlinuz" ] || (fetch_kernel "$1" "$home") >"$home.log" 2>&1 </dev/null
	exec {lock}>&-
	reason="kernel $1 could not be fetched: $(grep -v '^W:' "$home.log" | tail -n 1)"
	[ -e "$vmlinuz" ]
}

# fetch_kernel VERSION[-FLAVOUR] DIR
fetch_kernel() {
	local package='' suites
	for suites in "bookworm bookworm-backports" trixie-backports; do
		open_private_apt "$cache/kernel/work" "$suites" && package=$(find_kernel "$1") || return
		[ -z "$package" ] || break
	done
	[ -n "$package" ] || { echo "Debian has no package of it" && return 1; }
	# Newer ones consist of several packages; old versions of some may be gone.
	for package in "$package" "${package/image/binary}" "${package/image/modules}"; do
		private_apt apt-get -q download "$package"
	done
	for package in *.deb; do
		dpkg-deb -x "$package" root || return
	done
	package=$(find root -name 'vmlinuz*' -type f | head -n 1)
	rm -rf "$2.new"
	mkdir "$2.new" && pack_modules "$2.new/modules.cpio" && mv "$package" "$2.new/vmlinuz" || return
	rm -rf "$2"
	mv "$2.new" "$2" && cd .. && rm -rf work
}

# find_kernel VERSION[-FLAVOUR]: the newest package, such as linux-image-6.1.0-50-cloud-amd64 or
# linux-image-6.12.95+deb12-arm64-16k.
find_kernel() {
	local suffix version=${1%-*}
	suffix=$(debian_architecture)
	case $1 in
	*-*) suffix+=-${1##*-} ;;
	*) suffix=cloud-$suffix ;;
	esac
	private_apt apt-cache pkgnames "linux-image-$version" |
		grep -E "^linux-image-${version//./\\.}[.+-][^-]*(-[0-9]+)?-$suffix\$" | sort -V | tail -n 1
}

# open_private_apt DIR SUITES: makes it anew, for private_apt to work in, and goes there.
open_private_apt() {
	rm -rf "$1"
	mkdir -p "$1/lists/partial" "$1/cache/archives/partial" "$1/root"
	cd "$1" || return
	write_sources "$2" || return
	private_apt apt-get -q update
}

debian_architecture() {
	case $architecture in
	x86_64) echo amd64 ;;
	aarch64) echo arm64 ;;
	esac
}

# write_sources SUITES: as a source of apt, from where, and under the key with which, this system gets its own packages.
write_sources() {
	local uri entry
	IFS='|' read -r uri _ entry _ < <(
		# shellcheck disable=SC2016 # the names are apt's
		apt-get indextargets --format '$(REPO_URI)|$(RELEASE)|$(SOURCESENTRY)|$(ORIGIN)' \
			'Created-By: Packages' 'Component: main' | grep -E '^[^|]*\|[^|/-]*\|[^|]*\|(Debian)?$'
	)
	[ -n "$uri" ] || { echo "apt has no source of Debian" && return 1; }
	mkdir sources
	{
		printf '%s\n' 'Types: deb' "URIs: $uri" "Suites: $1" 'Components: main'
		signed_by "${entry%:*}" "${entry##*:}"
	} >sources/debian.sources
}

# signed_by FILE N: what the line or the paragraph of a file of sources says about its key.
signed_by() {
	case $1 in
	*.sources)
		grep -v '^#' "$1" | awk -v RS= -v n="$2" 'NR == n' |
			sed -n '/^Signed-By:/I { p; :more; n; /^[ \t]/ { p; b more } }'
		;;
	*) sed -nE "$2"'s/^[^#]*\[[^]]*signed-by=([^] ]*).*/Signed-By: \1/p' "$1" ;;
	esac
}

private_apt() {
	local program=$1
	shift
	"$program" -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$PWD/sources" \
		-o Dir::State::lists="$PWD/lists" -o Dir::State::status=/dev/null -o Dir::Cache="$PWD/cache" \
		-o APT::Sandbox::User=root -o APT::Architecture="$(debian_architecture)" \
		-o APT::Architectures="$(debian_architecture)" -o Acquire::Languages=none "$@"
}

pack_modules() {
	local to=$PWD/stage/lab/modules name file n=1
	mkdir -p "$to"
	for name in $modules; do
		file=$(find root -name "$name.ko*" | head -n 1)
		case $file in
		*.xz) busybox xzcat "$file" >"$to/$n-$name.ko" || return ;;
		?*) cp "$file" "$to/$n-$name.ko" ;;
		esac
		n=$((n + 1))
	done
	pack stage "$1"
}
