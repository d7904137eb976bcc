# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
"""Makes the report of records: text on stdout and in index.txt, and a page, index.html."""

import os

import memory
import page
import record
import text
import workloads
from table import Table


def make(paths, directory):
    """Speed and memory may come from different records; of each kind there may be one."""
    scripts = {name for name, _ in workloads.scripts()}
    tables = [Table(record.read(path), scripts) for path in paths]
    kinds = [table.record.options["memory"] for table in tables]
    if len(set(kinds)) < len(kinds):
        raise ValueError("want one record of speed, and one of memory")
    tables = [table for table in tables if table.lines]
    if not tables:
        raise ValueError("nothing was measured")
    shown = [text.report(t) if not t.record.options["memory"] else memory.report(t) for t in tables]
    for part in shown:
        print(part)
    with open(os.path.join(directory, "index.txt"), "w", encoding="utf-8") as file:
        file.write("\n".join(shown))
    with open(os.path.join(directory, "index.html"), "w", encoding="utf-8") as file:
        file.write(page.make(tables))
    print(f"The same as a page: {os.path.relpath(os.path.join(directory, 'index.html'))}")
