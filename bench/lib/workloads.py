# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
"""
Which workloads there are, and which rows of them are run.

A workload is a program bench/NAME.c (see workload.h) or a script bench/programs/NAME, which runs a real program. Both
print their rows when asked with --rows, and figures `metric value better` when given a row. What is preloaded into a
workload is in LD_PRELOAD; a script finds it in NEAR_PRELOAD and gives it to nothing but what it measures.
"""

import glob
import os
import re
import subprocess

from machine import Trouble

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAMS = os.path.join(TOP, "bench", "programs")

# Where the memory is looked at over time; it costs the others nothing.
WATCHED = re.compile(
    r"(fragmentation|kv_store|chaos|phases|thread_churn|long_mixed|micro_burst|rss_reclaim|pairs"
    r"|producer_consumer through=rings producers=1 consumers=4)\b"
)

# The rows that are about memory, and when a speed bench leaves them out.
MEMORY = [
    r"fragmentation ", r"kv_store ", r"rss_reclaim ", r"thread_churn ", r"chaos ", r"micro_burst ", r"pairs pairs=16 ",
    r"producer_consumer through=rings producers=1 consumers=[14] ", r"long_mixed ", r"phases ", r"small_million ",
    r"hello ", r"idle_threads ", r"gcc ", r"python3 ", r"\w+ .*work=memory\b",
]
MEMORY_ONLY = r"(hello |idle_threads |\w+ .*work=memory\b)"


class Row:
    def __init__(self, workload, arguments, command, script):
        self.workload, self.arguments, self.command, self.script = workload, arguments, command, script

    @property
    def name(self):
        return f"{self.workload} {self.arguments}".strip()

    @property
    def watched(self):
        return not self.script and bool(WATCHED.match(self.name))

    def matches(self, pattern):
        """The name ends in a space, so that `live=1 ` can be told from `live=10`."""
        return bool(re.search(pattern, self.name + " "))


def programs(built):
    """[(name, path)] of bench/*.c, as far as they are built."""
    for source in sorted(glob.glob(os.path.join(TOP, "bench", "*.c"))):
        name = os.path.basename(source)[:-2]
        path = os.path.join(built, name)
        if not os.access(path, os.X_OK):
            raise Trouble(f"{path} is not built (make bench-programs)")
        yield name, path


def scripts():
    for path in sorted(glob.glob(os.path.join(PROGRAMS, "*"))):
        name = os.path.basename(path)
        if "." not in name and os.path.isfile(path) and os.access(path, os.X_OK):
            yield name, path


def rows_of(path, quick):
    asked = subprocess.run(
        [path, "--rows"] + ["--quick"] * quick, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if asked.returncode or not asked.stdout:
        raise Trouble(f"{path} --rows: status {asked.returncode} {asked.stderr.strip()}")
    return asked.stdout.splitlines()


def chosen(row, options):
    if options["memory"]:
        wanted = any(re.match(pattern, row.name + " ") for pattern in MEMORY)
    else:
        wanted = not re.match(MEMORY_ONLY, row.name + " ")
    return wanted and (not options["only"] or row.matches(options["only"]))


def script_rows(options):
    for name, path in scripts():
        for arguments in rows_of(path, options["quick"] and not options["memory"]):
            yield Row(name, arguments, [path] + arguments.split(), True)


def extra_arguments(options):
    """Of bench/*.c only: of a script the row says all."""
    arguments = ["--quick"] if options["quick"] else []
    return arguments + (["--settle", str(options["settle"])] if options["memory"] else [])


def rows(options, built):
    found = []
    extra = extra_arguments(options)
    for name, path in programs(built):
        for arguments in rows_of(path, options["quick"]):
            found.append(Row(name, arguments, [path] + arguments.split() + extra, False))
    if options["memory"] and not options["quick"]:
        path = os.path.join(built, "long_mixed")
        found.append(Row("long_mixed", "ms=600000", [path, "ms=600000"] + extra, False))
    found += script_rows(options)
    found = [row for row in found if chosen(row, options)]
    if not found:
        raise Trouble("no rows to run")
    return found


def packages(options):
    """What the scripts of the chosen rows need."""
    wanted = set()
    for row in script_rows(options):
        if chosen(row, options):
            with open(row.command[0], encoding="utf-8") as file:
                for line in re.findall(r"^# packages: *(.*)", file.read(), re.M):
                    wanted.update(line.split())
    return wanted
