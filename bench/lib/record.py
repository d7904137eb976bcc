# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
"""
The file of samples. Its head are lines `# key: value`, among them the options as JSON, so that it can be resumed.
Then CSV, one line for each figure of each run:

    round,order,allocator,workload,row,metric,value,better

A run's figures come from the workload, then from the launcher (run_*), then `load`, which ends the run: one without
it was interrupted, and is run again. The figures of the workload are missing from a run that failed; it has `failed`
instead, with the reason. rss_series is `MS:KIB ...`.
"""

import csv
import io
import json
import os

COLUMNS = ["round", "order", "allocator", "workload", "row", "metric", "value", "better"]
TEXTS = {"failed", "rss_series"}
LAST = "load"


class Run:
    """One run of one row: figures maps a metric to its value, better a metric to its direction."""

    def __init__(self, turn, order, allocator, workload, row):
        self.turn, self.order, self.allocator, self.workload, self.row = turn, order, allocator, workload, row
        self.figures, self.better = {}, {}
        self.failed = self.series = None

    @property
    def key(self):
        return self.turn, self.allocator, self.workload, self.row

    def add(self, metric, value, better):
        if metric == "failed":
            self.failed = value
        elif metric == "rss_series":
            self.series = [tuple(map(int, point.split(":"))) for point in value.split()]
        else:
            self.figures[metric], self.better[metric] = float(value), better

    def main_metric(self):
        """The first that the workload told."""
        return next((m for m in self.figures if m != LAST and not m.startswith("run_")), None)

    def lines(self):
        place = [self.turn, self.order, self.allocator, self.workload, self.row]
        texts = []
        if self.failed:
            texts.append(["failed", self.failed, "none"])
        if self.series:
            texts.append(["rss_series", " ".join(f"{ms}:{kib}" for ms, kib in self.series), "none"])
        own = [[m, f"{v:.9g}", self.better[m]] for m, v in self.figures.items()]
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(place + line for line in own[:-1] + texts + own[-1:])
        return text.getvalue()


class Record:
    def __init__(self, head, runs):
        self.head, self.runs = head, runs

    @property
    def options(self):
        return json.loads(self.head["options"])

    @property
    def allocators(self):
        return list(self.options["allocators"])


def read(path):
    """Whole runs only."""
    head, open_runs, runs = {}, {}, {}
    with open(path, encoding="utf-8", newline="") as file:
        lines = []
        for line in file:
            if line.startswith("# "):
                key, _, value = line[2:].rstrip("\n").partition(": ")
                head[key] = value
            elif line.endswith("\n"):
                lines.append(line)
    if not lines or lines[0].strip() != ",".join(COLUMNS) or "options" not in head:
        raise ValueError(f"{path}: not a file of ./dev bench")
    for line in csv.reader(lines[1:]):
        if len(line) != len(COLUMNS):
            continue
        turn, order, allocator, workload, row, metric, value, better = line
        key = int(turn), allocator, workload, row
        if key not in open_runs:
            open_runs[key] = Run(int(turn), int(order), allocator, workload, row)
        open_runs[key].add(metric, value, better)
        if metric == LAST:
            runs[key] = open_runs.pop(key)
    return Record(head, list(runs.values()))


class Writer:
    """Writes the head and whole runs; each run in one piece, so that an interruption costs one at most."""

    def __init__(self, path, head, runs=()):
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        fresh = path + ".new"
        with open(fresh, "w", encoding="utf-8") as file:
            for key, value in head.items():
                print(f"# {key}: {value}", file=file)
            print(",".join(COLUMNS), file=file)
            for run in runs:
                file.write(run.lines())
        os.replace(fresh, path)
        self.file = open(path, "a", encoding="utf-8")

    def add(self, run):
        self.file.write(run.lines())
        self.file.flush()

    def close(self):
        self.file.close()
