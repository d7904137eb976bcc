# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
"""The allocators that can be compared, and the machine that they run on."""

import datetime
import glob
import hashlib
import os
import platform
import re
import subprocess

OURS = "nearmalloc"


class Peer:
    def __init__(self, library, package, usual=True):
        self.library, self.package, self.usual = library, package, usual


PEERS = {  # what the dynamic linker calls them, and Debian's packages
    "glibc": Peer(None, None),
    "jemalloc": Peer("libjemalloc.so.2", "libjemalloc2"),
    "mimalloc": Peer("libmimalloc.so.2", "libmimalloc2.0"),
    "tcmalloc": Peer("libtcmalloc_minimal.so.4", "libtcmalloc-minimal4"),
    "tbbmalloc": Peer("libtbbmalloc_proxy.so.2", "libtbbmalloc2", usual=False),
}


class Trouble(Exception):
    """What the user can do something about."""


def output_of(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""


def read(path, default="?"):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return default


def load():
    return float(read("/proc/loadavg", "0").split()[0])


# ---- allocators -------------------------------------------------------------------------------------


def peer_names(text):
    """Of --peers: names with commas between them, `all`, or what is usual."""
    if text is None:
        return [name for name, peer in PEERS.items() if peer.usual]
    names = list(PEERS) if text == "all" else [name for name in text.split(",") if name]
    for name in names:
        if name not in PEERS:
            raise Trouble(f"no such peer: {name} (there are {', '.join(PEERS)})")
    return names


def preloads(path):
    """The dynamic linker only warns about a preload that it cannot have."""
    env = dict(os.environ, LD_PRELOAD=path, LC_ALL="C")
    tried = subprocess.run(["/bin/true"], env=env, capture_output=True, check=False)
    return tried.returncode == 0 and not tried.stderr


def linker_knows(library):
    """The path of a library, for the architecture of this machine's programs."""
    paths = re.findall(rf"^\s*{re.escape(library)} .*=> (\S+)", output_of("/sbin/ldconfig", "-p"), re.M)
    return next((os.path.realpath(path) for path in paths if preloads(path)), paths and os.path.realpath(paths[0]))


def find_allocators(names, extra, ours):
    """({name: path for LD_PRELOAD}, [names that are not installed]); ours first; "": no preload."""
    found, missing = {OURS: os.path.abspath(ours)}, []
    for name in names:
        library = PEERS[name].library
        path = linker_knows(library) if library else ""
        if path is None:
            missing.append(name)
        else:
            found[name] = path
    for text in extra:
        name, _, path = text.partition("=")
        if not name or name in found or not os.path.exists(path):
            raise Trouble(f"--peer {text}: want NAME=PATH, a new name and a file")
        found[name] = os.path.abspath(path)
    for name, path in found.items():
        if path and not preloads(path):
            raise Trouble(f"{name}: cannot be preloaded: {path}")
    return found, missing


def package_of(path):
    """Its name and version; Debian 12 still lists some files under /lib that lie under /usr/lib."""
    names = (path, path.removeprefix("/usr"))
    owner = next(filter(None, (output_of("dpkg-query", "-S", name).split(":")[0] for name in names)), "")
    return (owner and " ".join(output_of("dpkg-query", "-W", owner).split())) or path


def digest(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()[:16]


def describe_allocator(name, path, top):
    if not path:
        return "no preload, " + (package_of(linker_knows("libc.so.6") or "") or "?")
    if name == OURS:
        commit = output_of("git", "-C", top, "describe", "--always", "--dirty", "--abbrev=12")
        return f"commit {commit or '?'}, sha256 {digest(path)}"
    return package_of(path)


# ---- the machine ------------------------------------------------------------------------------------


def numa_nodes():
    return len(glob.glob("/sys/devices/system/node/node[0-9]*")) or 1


def describe():
    """{key: value} for the head of the record."""
    cpu = re.search(r"^model name\s*: (.*)", read("/proc/cpuinfo"), re.M)
    memory = re.search(r"MemTotal:\s*(\d+)", read("/proc/meminfo"))
    thp = "/sys/kernel/mm/transparent_hugepage/"
    return {
        "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "cpu": f"{cpu[1] if cpu else platform.machine()}, {os.cpu_count()} CPUs, {numa_nodes()} nodes",
        "governor": read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "none"),
        "memory": f"{int(memory[1]) / (1 << 20):.1f} GiB" if memory else "?",
        "kernel": f"{platform.system()} {platform.release()}",
        "libc": " ".join(platform.libc_ver()),
        "compiler": output_of("gcc", "--version").split("\n")[0] or "?",
        "huge pages": f"{read(thp + 'enabled')}, defrag {read(thp + 'defrag')}",
        "load at the start": read("/proc/loadavg"),
    }
