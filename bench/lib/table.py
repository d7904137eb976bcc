# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
"""What follows from a record: a line for each row and figure, groups, claims."""

import stats
import targets
from machine import OURS


class Samples:
    """Of one row."""

    def __init__(self, workload, row):
        self.workload, self.row, self.name = workload, row, f"{workload} {row}".strip()
        self.values = {}  # metric -> allocator -> round -> value
        self.better = {}
        self.failed = {}  # allocator -> [reason]
        self.runs = {}  # allocator -> how many
        self.main = None

    def add(self, run):
        self.runs[run.allocator] = self.runs.get(run.allocator, 0) + 1
        if run.failed:
            self.failed.setdefault(run.allocator, []).append(run.failed)
            return
        self.main = self.main or run.main_metric()
        for metric, value in run.figures.items():
            self.values.setdefault(metric, {}).setdefault(run.allocator, {})[run.turn] = value
            self.better[metric] = run.better[metric]

    def of(self, metric, allocator):
        return self.values.get(metric, {}).get(allocator, {})

    def median(self, metric, allocator):
        values = self.of(metric, allocator)
        return stats.median(values.values()) if values else None


class Line:
    """One figure of one row: medians, and ours over the best other."""

    def __init__(self, samples, metric, allocators, counts=True):
        self.samples, self.metric, self.counts = samples, metric, counts
        self.better = samples.better.get(metric, "lower")
        self.medians = {a: samples.median(metric, a) for a in allocators}
        others = {a: m for a, m in self.medians.items() if a != OURS and m is not None}
        best_of = max if self.better == "higher" else min
        self.best = best_of(others, key=others.get) if others and self.better != "none" else None
        self.ratio = self.ratio_to(self.best) if self.best else None

    def ratio_to(self, other):
        return stats.ratio(self.samples.of(self.metric, OURS), self.samples.of(self.metric, other), self.better)

    @property
    def failed(self):
        return self.samples.failed

    @property
    def first(self):
        """First or tied: the interval does not exclude that it is no slower than the best other."""
        return self.ratio is not None and not self.failed.get(OURS) and self.ratio.low <= 1

    @property
    def decided(self):
        """Ours took part: it has a ratio, or failed where another did not."""
        return self.ratio is not None or bool(self.failed.get(OURS)) and self.best is not None


def worse_than_best(line, allocator):
    """How many times worse than the best of its row an allocator is; None if that cannot be told."""
    values = [v for v in line.medians.values() if v is not None and v > 0]
    value = line.medians[allocator]
    if not values or not value or value <= 0 or line.better == "none":
        return None
    return max(values) / value if line.better == "higher" else value / min(values)


class GroupResult:
    def __init__(self, group, lines):
        self.group, self.lines = group, [line for line in lines if line.counts and line.decided]
        self.with_ratio = [line for line in self.lines if line.ratio]
        ratios = [line.ratio.middle for line in self.with_ratio]
        self.mean = stats.geometric_mean(ratios) if ratios else None
        self.highest = max(self.with_ratio, key=lambda line: line.ratio.middle) if ratios else None
        self.first = sum(line.first for line in self.lines)
        self.over = [line for line in self.lines if not self.holds(line)]

    def holds(self, line):
        limit = self.group.limit(line.samples.name)
        if line.ratio is None or line.failed.get(OURS):
            return False
        return limit is None or (line.ratio.low if self.group.within else line.ratio.middle) <= limit

    @property
    def reached(self):
        return not self.over and (self.group.mean is None or self.mean is not None and self.mean <= self.group.mean)


class Table:
    def __init__(self, record, scripts):
        self.record, self.allocators, self.scripts = record, record.allocators, scripts
        self.rows = {}
        for run in record.runs:
            key = run.workload, run.row
            if key not in self.rows:
                self.rows[key] = Samples(*key)
            self.rows[key].add(run)
        self.lines = [line for samples in self.rows.values() for line in self.lines_of(samples)]

    def lines_of(self, samples):
        for metric in targets.FIGURES.get(samples.workload, [samples.main]):
            yield Line(samples, metric, self.allocators)
        for metric in targets.SHOWN_BESIDE.get(samples.workload, []):
            if metric in samples.values:
                yield Line(samples, metric, self.allocators, counts=False)

    def groups(self):
        """Each line belongs to the first group that wants it; groups without lines are left out."""
        members = {group: [] for group in targets.GROUPS}
        for line in self.lines:
            script = line.samples.workload in self.scripts
            for group in targets.GROUPS:
                if group.script == script and group.rows.match(line.samples.name + " "):
                    members[group].append(line)
                    break
        results = [GroupResult(group, lines) for group, lines in members.items()]
        return [r for r in results if r.lines]

    def whole(self):
        return GroupResult(targets.WHOLE, self.lines)

    def standings(self):
        """(allocator, mean, near, figures, worst, where): each over the best of each row, the best mean first."""
        found = []
        for allocator in self.allocators:
            worse = [(worse_than_best(line, allocator), line.samples.name) for line in self.lines if line.counts]
            worse = [(factor, name) for factor, name in worse if factor]
            if worse:
                near = sum(factor <= targets.NEAR for factor, _ in worse)
                mean = stats.geometric_mean([factor for factor, _ in worse])
                found.append((allocator, mean, near, len(worse)) + max(worse))
        return sorted(found, key=lambda standing: standing[1])

    def find(self, pattern):
        return next((s for s in self.rows.values() if pattern.match(s.name + " ")), None)

    def failures(self):
        """(row, allocator, how many, of how many, the last reason)"""
        for samples in self.rows.values():
            for allocator, reasons in samples.failed.items():
                yield samples.name, allocator, len(reasons), samples.runs[allocator], reasons[-1]

    def start_up(self):
        """Ours beyond glibc: (milliseconds, system calls), or None."""
        samples = self.rows.get(("startup", ""))
        if not samples or "glibc" not in self.allocators:
            return None
        values = [samples.median(m, a) for m in ("start_us", "system_calls") for a in (OURS, "glibc")]
        if None in values:
            return None
        return (values[0] - values[1]) / 1000, values[2] - values[3]

    def claims(self):
        """(claim, ours, glibc's, Ratio of glibc's to ours where more is better) for each that was measured."""
        for claim in targets.CLAIMS:
            samples = self.find(claim.row)
            if not samples or "glibc" not in self.allocators:
                continue
            ours, theirs = samples.median(claim.metric, OURS), samples.median(claim.metric, "glibc")
            if ours is None or theirs is None:
                continue
            times_better = stats.ratio(samples.of(claim.metric, "glibc"), samples.of(claim.metric, OURS), "lower")
            if times_better:
                yield claim, ours, theirs, times_better
