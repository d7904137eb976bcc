# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
"""The tables of --memory, in markdown."""

import targets
from machine import OURS
from table import Line
from text import number


def metric_of(samples, wanted):
    """The first that the row has; NAME@OTHER: NAME, if there is OTHER too."""
    for metric in wanted:
        metric, _, other = metric.partition("@")
        if metric in samples.values and (not other or other in samples.values):
            return metric
    return None


class Column:
    """One figure of all the rows that have it."""

    def __init__(self, table, title, wanted, divisor, unit):
        self.title = title.format(settle=table.record.options["settle"])
        self.divisor, self.unit = divisor, unit
        found = [(samples, metric_of(samples, wanted)) for samples in table.rows.values()]
        self.lines = [Line(samples, metric, table.allocators) for samples, metric in found if metric or samples.failed]

    def cell(self, line, allocator):
        if line.medians[allocator] is None:
            return "failed" if line.failed.get(allocator) else "-"
        return number(line.medians[allocator] / self.divisor)


def columns(table):
    made = [Column(table, *column) for column in targets.MEMORY_COLUMNS]
    return [column for column in made if column.lines]


def ratio(line):
    if line.ratio is None:
        return "-"
    interval = f" ({line.ratio.low:.2f}..{line.ratio.high:.2f})" if line.ratio.interval else ""
    return f"{line.ratio.middle:.2f}{interval}"


def column_lines(column, names):
    yield f"### {column.title}, {column.unit}"
    yield ""
    yield "| row | " + " | ".join(names) + " | ratio | to |"
    yield "|---|" + "---:|" * (len(names) + 1) + "---|"
    for line in column.lines:
        cells = [column.cell(line, name) for name in names]
        yield f"| {line.samples.name} | " + " | ".join(cells) + f" | {ratio(line)} | {line.best or '-'} |"
    yield ""


def report(table):
    out = [f"Medians; ratio: {OURS} over the best other, the median of the paired ratios with its 95 % interval.", ""]
    for column in columns(table):
        out += column_lines(column, table.allocators)
    for row, allocator, failed, runs, reason in table.failures():
        out.append(f"{row} failed under {allocator} in {failed} of {runs} runs: {reason}")
    return "\n".join(out).rstrip() + "\n"
