# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
"""The drawings of the page. Each function returns [(title, SVG)], nothing where the record has nothing to draw."""

import re

import stats
import svg
import targets
from machine import OURS
from text import number

WIDTH, HEIGHT = 376, 250
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 12, 40
RATIO_TICKS = [0.25, 0.5, 0.7, 1, 1.4, 2, 4, 8]

QUANTILES = ["p50", "p90", "p99", "p99.9", "p99.99", "max"]
THREADS = re.compile(r"\b(threads|pairs)=(\d+)\b")


# ---- a frame for lines ------------------------------------------------------------------------------


class Frame:
    """A plot with both axes; x and y are svg.Linear or svg.Log."""

    def __init__(self, x, y, x_labels, y_labels, x_title, y_title):
        self.x, self.y, self.parts = x, y, []
        for at, label in y_labels:
            self.parts.append(svg.line(LEFT, y.at(at), WIDTH - RIGHT, y.at(at), class_="grid"))
            self.parts.append(svg.text(LEFT - 6, y.at(at) + 4, label, text_anchor="end"))
        for at, label in x_labels:
            self.parts.append(svg.text(x.at(at), HEIGHT - BOTTOM + 16, label, text_anchor="middle"))
        self.parts.append(svg.line(LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, HEIGHT - BOTTOM, class_="axis"))
        middle = (LEFT + WIDTH - RIGHT) / 2
        self.parts.append(svg.text(middle, HEIGHT - 6, x_title, text_anchor="middle", class_="title"))
        turned = f"rotate(-90 12 {(TOP + HEIGHT - BOTTOM) / 2:g})"
        self.parts.append(svg.text(12, (TOP + HEIGHT - BOTTOM) / 2, y_title, text_anchor="middle", class_="title",
                                   transform=turned))

    def curve(self, index, points, tips=None):
        """Ours is drawn thicker. Marks where there are tips."""
        placed = [(self.x.at(a), self.y.at(b)) for a, b in points]
        self.parts.append(svg.polyline(placed, stroke=svg.COLORS[index % len(svg.COLORS)],
                                       stroke_width="2.6" if index == 0 else "1.6", stroke_linejoin="round"))
        for (x, y), tip in zip(placed, tips or []):
            self.parts.append(svg.mark(index, x, y, tip))

    def drawing(self, label):
        return svg.drawing(WIDTH, HEIGHT, "".join(self.parts), label)


def x_span():
    return LEFT + 8, WIDTH - RIGHT - 8


def y_span():
    return HEIGHT - BOTTOM, TOP


def back_to_front(table):
    """(index, allocator), ours last so that nothing covers it."""
    return list(enumerate(table.allocators))[::-1]


def log_range(values, least=1e-9):
    low, high = max(min(values), least), max(max(values), least)
    return low / 1.3, high * 1.3


# ---- relative time of each workload -----------------------------------------------------------------


def relative(line, allocator):
    """An allocator's time over ours; more than 1: slower than we are."""
    if line.failed.get(OURS) or line.failed.get(allocator):
        return None
    found = line.ratio_to(allocator)
    return 1 / found.middle if found else None


def by_workload(table):
    """[(workload, {allocator: geometric mean of the relative times of its rows})]"""
    lines = {}
    for line in table.lines:
        if line.counts:
            lines.setdefault(line.samples.workload, []).append(line)
    for workload, its in lines.items():
        means = {}
        for allocator in table.allocators:
            found = [r for r in (relative(line, allocator) for line in its) if r]
            if found:
                means[allocator] = stats.geometric_mean(found)
        yield workload, len(its), means


def times(table):
    """One row of marks for each workload."""
    rows = [(w, n, means) for w, n, means in by_workload(table) if len(means) > 1]
    if not rows:
        return []
    width, left, step, top = 1160, 190, 24, 34
    axis = svg.Log(0.25, 8, left, width - 30, RATIO_TICKS)
    bottom = top + step * len(rows)
    parts = []
    for tick in axis.ticks:
        parts.append(svg.line(axis.at(tick), top - 6, axis.at(tick), bottom, class_="one" if tick == 1 else "grid"))
        parts.append(svg.text(axis.at(tick), top - 14, f"{tick:g}×", text_anchor="middle"))
    for i, (workload, n, means) in enumerate(rows):
        y = top + step * i + step / 2
        parts.append(svg.line(left, y, width - 30, y, class_="grid"))
        label = f"{workload}" + (f" ({n} rows)" if n > 1 else "")
        parts.append(svg.text(left - 10, y + 4, label, text_anchor="end"))
        for index, allocator in back_to_front(table):
            if allocator in means:
                tip = f"{workload}, {allocator}: {means[allocator]:.2f} of {OURS}'s time"
                parts.append(svg.mark(index, axis.at(means[allocator]), y, tip, 5.0))
    return [("", svg.drawing(width, bottom + 10, "".join(parts), "relative time of each workload"))]


# ---- ratios of a group ------------------------------------------------------------------------------


def strip(result):
    """Every ratio of a group as a tick, with its limit, in a cell of a table."""
    width, height = 210, 26
    axis = svg.Log(0.25, 4, 6, width - 6)
    parts = [svg.line(6, 13, width - 6, 13, class_="grid"), svg.line(axis.at(1), 3, axis.at(1), 23, class_="one")]
    limit = result.group.most
    if limit:
        parts.append(svg.line(axis.at(limit), 1, axis.at(limit), 25, class_="limit"))
    for line in result.with_ratio:
        x = axis.at(line.ratio.middle)
        tip = svg.element("title", svg.escape(f"{line.samples.name}: {line.ratio.middle:.2f}"))
        good = result.holds(line) if limit else line.first
        parts.append(svg.element("circle", tip, cx=x, cy=13.0, r="3.6", class_="good" if good else "bad"))
    if result.mean:
        x = axis.at(result.mean)
        parts.append(svg.element("path", d=f"M{x:.1f} 21l-5 5h10z", class_="mean"))
    return svg.drawing(width, height, "".join(parts), f"ratios: {result.group.title}")


def forest(ratio, limit=None):
    """A ratio and its interval, in a cell of a table."""
    width, height = 110, 18
    axis = svg.Log(0.25, 4, 4, width - 4)
    parts = [svg.line(axis.at(1), 0, axis.at(1), height, class_="one")]
    if limit:
        parts.append(svg.line(axis.at(limit), 2, axis.at(limit), height - 2, class_="limit"))
    kind = "good" if ratio.low <= 1 else "bad"
    parts.append(svg.line(axis.at(ratio.low), 9, axis.at(ratio.high), 9, class_=f"whisker {kind}"))
    parts.append(svg.element("circle", cx=axis.at(ratio.middle), cy=9.0, r="3.6", class_=kind))
    return svg.drawing(width, height, "".join(parts), f"{ratio.middle:.2f}")


# ---- scaling ----------------------------------------------------------------------------------------


def thread_families(table):
    """{(workload, row without its threads): {threads: samples}} of three rows or more that differ in threads only."""
    families = {}
    for samples in table.rows.values():
        found = THREADS.search(samples.row)
        if found and "ns_per_op" in samples.values:
            rest = THREADS.sub("", samples.row).strip()
            families.setdefault((samples.workload, rest, found[1]), {})[int(found[2])] = samples
    return {key: members for key, members in families.items() if len(members) > 2}


def scaling(table):
    charts = []
    for (workload, rest, word), members in thread_families(table).items():
        counts = sorted(members)
        rates = {a: [(n, members[n].median("ns_per_op", a)) for n in counts] for a in table.allocators}
        rates = {a: [(n, 1e3 / v) for n, v in points if v] for a, points in rates.items()}
        if not any(rates.values()):
            continue
        high = max(rate for points in rates.values() for _, rate in points)
        y = svg.Linear(0, high * 1.08, *y_span())
        x = svg.Log(counts[0], counts[-1], *x_span())
        frame = Frame(x, y, [(n, n) for n in counts], [(t, svg.short(t)) for t in y.ticks], word,
                      "million operations/s")
        for index, allocator in back_to_front(table):
            points = rates[allocator]
            frame.curve(index, points, [f"{allocator}, {n} {word}: {number(rate)} M/s" for n, rate in points])
        charts.append((f"{workload} {rest}".strip(), frame.drawing(f"{workload} by {word}")))
    return charts


# ---- latency ----------------------------------------------------------------------------------------


def latency(table):
    charts = []
    for samples in table.rows.values():
        for metric in [m for m in samples.values if m.endswith("_p50_ns")]:
            call = metric[: -len("_p50_ns")]
            chart = latency_of(table, samples, call)
            if chart:
                charts.append((f"{samples.name}: {call}", chart))
    return charts


def latency_of(table, samples, call):
    curves = {}
    for allocator in table.allocators:
        values = [samples.median(f"{call}_{q}_ns", allocator) for q in QUANTILES]
        if None not in values:
            curves[allocator] = [(i, max(v, 1)) for i, v in enumerate(values)]
    if not curves:
        return None
    low, high = log_range([v for points in curves.values() for _, v in points], 1)
    y = svg.Log(low, high, *y_span())
    x = svg.Linear(0, len(QUANTILES) - 1, *x_span())
    frame = Frame(x, y, list(enumerate(QUANTILES)), [(t, svg.short(t)) for t in y.ticks], "percentile", "ns, log scale")
    for index, allocator in back_to_front(table):
        points = curves.get(allocator, [])
        frame.curve(index, points, [f"{allocator}, {QUANTILES[i]}: {number(v)} ns" for i, v in points])
    return frame.drawing(f"latency of {call}, {samples.name}")


# ---- memory over time -------------------------------------------------------------------------------


def memory(table):
    series = {}
    for run in table.record.runs:
        if run.series and len(run.series) > 3:
            series.setdefault(f"{run.workload} {run.row}".strip(), {}).setdefault(run.allocator, run.series)
    return [(name, memory_of(table, name, curves)) for name, curves in series.items()]


def memory_of(table, name, curves):
    end = max(points[-1][0] for points in curves.values()) / 1000
    peak = max(kib for points in curves.values() for _, kib in points) / 1024
    x, y = svg.Linear(0, end, *x_span()), svg.Linear(0, peak * 1.08, *y_span())
    frame = Frame(x, y, [(t, f"{t:g}") for t in x.ticks], [(t, svg.short(t)) for t in y.ticks], "seconds", "RSS, MiB")
    for index, allocator in back_to_front(table):
        if allocator in curves:
            frame.curve(index, [(ms / 1000, kib / 1024) for ms, kib in curves[allocator]])
            ms, kib = curves[allocator][-1]
            frame.parts.append(svg.mark(index, x.at(ms / 1000), y.at(kib / 1024), f"{allocator}: {kib / 1024:.1f} MiB"))
    return frame.drawing(f"memory over time, {name}")


def limit_of(line):
    return next((g.limit(line.samples.name) for g in targets.GROUPS if not g.script
                 and g.rows.match(line.samples.name + " ")), None)
