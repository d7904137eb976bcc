# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
"""The tables of --memory, in markdown."""

import targets
from machine import OURS
from table import Line
from text import number, percent


def metric_of(samples, wanted):
    """The first that the row has; NAME@OTHER: NAME, if there is OTHER too."""
    for metric in wanted:
        metric, _, other = metric.partition("@")
        if metric in samples.values and (not other or other in samples.values):
            return metric
    return None


class Column:
    """One figure of all the rows that have it; named: figures of many kinds, their names in the table."""

    def __init__(self, title, lines, divisor=1, named=False):
        self.title, self.lines, self.divisor, self.named = title, lines, divisor, named

    def name(self, line):
        return f"{line.samples.name}: {line.metric}" if self.named else line.samples.name

    def cell(self, line, allocator):
        if line.medians[allocator] is None:
            return "failed" if line.failed.get(allocator) else "-"
        return number(line.medians[allocator] / self.divisor)


def columns(table):
    made = []
    for title, wanted, divisor, unit in targets.MEMORY_COLUMNS:
        title = f"{title.format(settle=table.record.options['settle'])}, {unit}"
        found = [(samples, metric_of(samples, wanted)) for samples in table.rows.values()]
        lines = [Line(samples, metric, table.allocators) for samples, metric in found if metric or samples.failed]
        made.append(Column(title, lines, divisor))
    others = [Line(samples, metric, table.allocators) for samples in table.rows.values()
              for metric in targets.MEMORY_FIGURES if metric in samples.values]
    made.append(Column("Other figures", others, named=True))
    return [column for column in made if column.lines]


def summary(table):
    """Of the peaks, against what is expected of them."""
    ratios = [line.ratio.middle for line in columns(table)[0].lines if line.ratio]
    if not ratios:
        return ""
    over, below = sum(r > targets.PEAK for r in ratios), sum(r < 1 for r in ratios)
    return (f"Peak RSS is more than {percent(targets.PEAK - 1)} above that of the best other in {over} of "
            f"{len(ratios)} rows (target: none), and below it in {below} (target: most).")


def ratio(line):
    if line.ratio is None:
        return "-"
    interval = f" ({line.ratio.low:.2f}..{line.ratio.high:.2f})" if line.ratio.interval else ""
    return f"{line.ratio.middle:.2f}{interval}"


def column_lines(column, names):
    yield f"### {column.title}"
    yield ""
    yield "| row | " + " | ".join(names) + " | ratio | to |"
    yield "|---|" + "---:|" * (len(names) + 1) + "---|"
    for line in column.lines:
        cells = [column.cell(line, name) for name in names]
        yield f"| {column.name(line)} | " + " | ".join(cells) + f" | {ratio(line)} | {line.best or '-'} |"
    yield ""


def report(table):
    out = [f"Medians; ratio: {OURS} over the best other, the median of the paired ratios with its 95 % interval.",
           summary(table), ""]
    for column in columns(table):
        out += column_lines(column, table.allocators)
    for row, allocator, failed, runs, reason in table.failures():
        out.append(f"{row} failed under {allocator} in {failed} of {runs} runs: {reason}")
    return "\n".join(out).rstrip() + "\n"
