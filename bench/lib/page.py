# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
"""The report as one page, which needs nothing else: drawings are in it. It is well-formed XML."""

import math
import os
from html import escape

import charts
import memory
import svg
import targets
import text
from machine import OURS
from table import worse_than_best

CSS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "page.css")


def tag(name, inside="", class_=None, **attributes):
    words = f' class="{class_}"' if class_ else ""
    words += "".join(f' {key}="{escape(str(value))}"' for key, value in attributes.items() if value is not None)
    return f"<{name}{words}>{inside}</{name}>"


def row(cells, class_=None):
    return tag("tr", "".join(cells), class_)


def heads(words, left=("",)):
    """Those that are among `left` stand on the left, as the cells below them do."""
    return tag("thead", row(tag("th", escape(word), "left" if word in left else None) for word in words))


LEFT_HEADS = ("", "row", "figure", "to", "target", "ratios, 1/4 to 4", "1/4 to 4")


# ---- colours ----------------------------------------------------------------------------------------

# How much worse than the best in its row, and the colour of the cell: green, white, orange, red.
HEAT = [(1.0, (205, 236, 217)), (1.15, (255, 255, 255)), (1.6, (253, 231, 200)), (3.0, (246, 184, 160)),
        (8.0, (230, 138, 120))]


def heat(worse):
    """A colour between those that stand in the table, by the logarithm; None of None."""
    if worse is None:
        return None
    worse = min(max(worse, HEAT[0][0]), HEAT[-1][0])
    for (low, below), (high, above) in zip(HEAT, HEAT[1:]):
        if worse <= high:
            share = math.log(worse / low) / math.log(high / low)
            mixed = [round(a + (b - a) * share) for a, b in zip(below, above)]
            return "background:#{:02x}{:02x}{:02x}".format(*mixed)
    return None


def heat_scale():
    spans = (tag("span", f"{worse:g}×" if worse > 1 else "best", style=heat(worse)) for worse, _ in HEAT)
    return tag("span", "".join(spans), "scale")


def legend(table):
    keys = []
    for index, name in enumerate(table.allocators):
        picture = svg.drawing(16, 16, svg.mark(index, 8, 8, size=5.0), name)
        keys.append(tag("span", picture + (tag("b", escape(name)) if name == OURS else escape(name))))
    return tag("div", "".join(keys), "legend")


# ---- summary ----------------------------------------------------------------------------------------


def tile(title, value, of, reached):
    state = "tile" if reached is None else "tile reached" if reached else "tile missed"
    return tag("div", escape(title) + tag("b", escape(value)) + tag("span", escape(of), "of"), state)


def tiles(table):
    whole = table.whole()
    if not whole.with_ratio:
        return ""
    share = whole.first / len(whole.lines)
    failures = list(table.failures())
    failed, of_ours = sum(f[2] for f in failures), any(f[1] == OURS for f in failures)
    return tag("div", "".join([
        tile("geometric mean of the ratios", f"{whole.mean:.2f}", f"to the best other in each row; target "
             f"{targets.WHOLE.mean:.2f}", whole.mean <= targets.WHOLE.mean),
        tile("first, or tied", text.percent(share), f"{whole.first} of {len(whole.lines)} figures; target "
             f"{text.percent(targets.FIRST_SHARE)}", share >= targets.FIRST_SHARE),
        tile("highest ratio", f"{whole.highest.ratio.middle:.2f}", whole.highest.samples.name, None),
        tile("runs", f"{len(table.record.runs)}", f"{failed} failed" + (", ours among them" if of_ours else ""),
             False if of_ours else None),
    ]), "tiles")


def unbroken(words):
    return escape(words).replace(" %", "\u00a0%")


def group_row(result):
    high = result.highest.ratio.middle if result.highest else None
    limit = result.group.most
    verdict = "-" if limit is None and result.group.mean is None else \
        tag("span", "reached", "yes") if result.reached else tag("span", "missed", "no")
    return row([
        tag("td", escape(result.group.title), "left wrap"), tag("td", len(result.lines)),
        tag("td", f"{result.mean:.2f}" if result.mean else "-"),
        tag("td", f"{result.first} ({text.percent(result.first / len(result.lines))})"),
        tag("td", f"{high:.2f}" if high else "-", title=result.highest.samples.name if result.highest else None),
        tag("td", len(result.over) if limit is not None else "-"), tag("td", charts.strip(result)),
        tag("td", unbroken(text.target(result.group)), "left wrap"), tag("td", verdict, "left"),
    ])


def whole_row(result):
    share = result.first / len(result.lines)
    reached = result.mean is not None and result.mean <= result.group.mean and share >= targets.FIRST_SHARE
    high = f"{result.highest.ratio.middle:.2f}" if result.highest else "-"
    return row([
        tag("td", escape(result.group.title), "left"), tag("td", len(result.lines)),
        tag("td", f"{result.mean:.2f}" if result.mean else "-"), tag("td", f"{result.first} ({text.percent(share)})"),
        tag("td", high), tag("td", "-"), tag("td", charts.strip(result)),
        tag("td", unbroken(text.target(result.group)), "left wrap"),
        tag("td", tag("span", "reached", "yes") if reached else tag("span", "missed", "no"), "left"),
    ], "total")


def groups(table):
    results = table.groups()
    body = [group_row(result) for result in results]
    if table.whole().lines:
        body.append(whole_row(table.whole()))
    shown = tag("table", heads(["", "figures", "mean", "first or tied", "highest", "above", "ratios, 1/4 to 4",
                                "target", ""], LEFT_HEADS) + tag("tbody", "".join(body)))
    notes = [escape(line) for line in text.remarks(table)]
    return shown + "".join(tag("p", note, "soft") for note in notes) + standings(table)


def standings(table):
    body = [row([tag("td", escape(name), "left"), tag("td", f"{mean:.2f}"), tag("td", f"{near} of {figures}"),
                 tag("td", text.number(worst)), tag("td", escape(where), "left unit")],
                "total" if name == OURS else None)
            for name, mean, near, figures, worst, where in table.standings()]
    head = heads(["", "mean", f"within {text.percent(targets.NEAR - 1)} of it", "worst", "in"], ("", "in"))
    return tag("h3", "Each allocator over the best of each row") + tag("table", head + tag("tbody", "".join(body)))


def claims(table):
    body = []
    for claim, ours, theirs, times_better in table.claims():
        cells = text.claim_cells(claim, ours, theirs, times_better)
        note = tag("span", " " + escape(claim.note), "unit") if claim.note else ""
        verdict = tag("span", "beaten", "yes") if text.claim_beaten(claim, ours, times_better) else \
            tag("span", "not beaten", "no")
        body.append(row([tag("td", escape(claim.title) + note, "left")] + [tag("td", escape(c)) for c in cells]
                        + [tag("td", verdict, "left")]))
    if not body:
        return ""
    return tag("table", heads(["", "claimed", "glibc here", f"{OURS} here", f"{OURS} against glibc, here", ""])
               + tag("tbody", "".join(body)))


# ---- all rows ---------------------------------------------------------------------------------------


def value_cell(line, allocator):
    shown = text.cell(line, allocator)
    if shown == "FAILED":
        return tag("td", "failed", "failed", title=line.failed[allocator][-1])
    worse = worse_than_best(line, allocator)
    tip = "; ".join(line.failed.get(allocator, [])) or None
    return tag("td", escape(shown), "best" if worse == 1 else None, style=heat(worse), title=tip)


def ratio_cells(line, limit=None):
    if not line.ratio:
        return [tag("td", "-"), tag("td"), tag("td", "", "left")]
    interval = f"95 %: {line.ratio.low:.2f} to {line.ratio.high:.2f}" if line.ratio.interval else "too few rounds"
    return [tag("td", f"{line.ratio.middle:.2f}", title=interval),
            tag("td", charts.forest(line.ratio, limit), title=interval),
            tag("td", escape(line.best), "left")]


def rows(table):
    body, before = [], None
    for line in table.lines:
        name = escape(line.samples.workload) + (" " + tag("span", escape(line.samples.row), "unit"))
        cells = [tag("td", name, "left"), tag("td", escape(line.metric or ""), "left unit")]
        cells += [value_cell(line, allocator) for allocator in table.allocators]
        cells += ratio_cells(line, charts.limit_of(line))
        body.append(row(cells, "first-of" if line.samples.workload != before else None))
        before = line.samples.workload
    return tag("table", heads(["row", "figure"] + table.allocators + ["ratio", "1/4 to 4", "to"], LEFT_HEADS)
               + tag("tbody", "".join(body)), "rows")


def failures(table):
    found = [f"{name}, {allocator}: {failed} of {runs} runs: {reason}"
             for name, allocator, failed, runs, reason in table.failures()]
    if not found:
        return ""
    return tag("h2", "Failed runs") + tag("ul", "".join(tag("li", escape(f)) for f in found), "failures")


def memory_tables(table):
    made = []
    for column in memory.columns(table):
        body = []
        for line in column.lines:
            cells = [tag("td", escape(column.name(line)), "left")]
            for allocator in table.allocators:
                worse = worse_than_best(line, allocator)
                cells.append(tag("td", column.cell(line, allocator), "best" if worse == 1 else None, style=heat(worse)))
            body.append(row(cells + ratio_cells(line)))
        head = heads(["row"] + table.allocators + ["ratio", "1/4 to 4", "to"], LEFT_HEADS)
        made.append(tag("h3", escape(column.title), "of-table"))
        made.append(tag("table", head + tag("tbody", "".join(body)), "rows"))
    return "".join(made)


# ---- the page ---------------------------------------------------------------------------------------


def figures(found):
    drawn = "".join(tag("figure", tag("h3", escape(title)) + picture) for title, picture in found)
    return tag("div", drawn, "charts")


def machine_table(table):
    lines = [(key, value) for key, value in table.record.head.items() if key != "options"]
    options = {k: v for k, v in table.record.options.items() if k != "allocators" and v not in (None, False)}
    lines.append(("options", ", ".join(f"{k}: {v}" for k, v in options.items())))
    return tag("table", tag("tbody", "".join(row([tag("td", escape(k), "left"), tag("td", escape(v), "left")])
                                             for k, v in lines)), "head")


class Page:
    def __init__(self):
        self.sections = []

    def add(self, anchor, title, note, content):
        if content:
            heading = tag("h2", escape(title), id=anchor)
            self.sections.append((anchor, title, heading + tag("p", note, "soft") + content))

    def links(self):
        return tag("nav", "".join(tag("a", escape(title), href=f"#{anchor}") for anchor, title, _ in self.sections))


def charts_section(page, table, anchor, title, note, found):
    if found:
        page.add(anchor, title, note, legend(table) + figures(found))


def speed_sections(page, table):
    page.add("groups", "Groups and their targets",
             "Ratio: ours over the best other allocator of the row, the median of the paired ratios of all "
             "rounds; below 1 we take less. Tied: the 95 % interval (bootstrap) reaches 1. The dashed line is the "
             "limit for each row, the black mark the geometric mean.", groups(table))
    page.add("claims", "What predecessors claimed",
             "Their figures come from other machines, so ratios to glibc are compared; where they gave time alone, "
             "glibc's own here says what the machine is worth.", claims(table))
    found = charts.times(table)
    if found:
        page.add("times", "Time of each workload",
                 f"Relative to {OURS} at 1×: to the right is slower. Geometric means of a workload's rows; what is "
                 "beyond an end is drawn there.",
                 legend(table) + tag("figure", found[0][1], "wide"))
    page.add("rows", "All rows",
             f"Medians. Colour: how much worse than the best of the row, {heat_scale()}; bold is best. Behind it our "
             "ratio to the best other with its interval; rest the mouse there for figures.", rows(table))
    charts_section(page, table, "scaling", "Scaling with threads",
                   f"Of a machine with {table.record.head.get('cpu', '?').rsplit(', ', 2)[-2]}.", charts.scaling(table))
    charts_section(page, table, "latency", "Latency of single calls",
                   "Medians of the rounds' percentiles. Without as many CPUs as threads the last ones are those of a "
                   "thread that was preempted.", charts.latency(table))


def make(tables):
    """Of a table of speed, one of memory, or both."""
    page = Page()
    speed = [t for t in tables if not t.record.options["memory"]]
    rest = [t for t in tables if t.record.options["memory"]]
    for table in speed:
        speed_sections(page, table)
    for table in rest:
        page.add("memory", "Memory", f"Medians. Colour: how much worse than the best of the row, {heat_scale()}. "
                 + escape(memory.summary(table)), memory_tables(table))
    for table in (rest or speed):
        charts_section(page, table, "rss", "Memory over time",
                       "Resident memory in the first round, from the start of the process to its end.",
                       charts.memory(table))
    failed = "".join(failures(table) for table in tables)
    for number, table in enumerate(tables):
        page.add(f"machine{number}", "How it was measured" + (": memory" if table in rest and speed else ""),
                 f"{len(table.record.runs)} runs, each in a process of its own, the allocators interleaved in an order "
                 "that rotates. All samples are in the CSV file beside this page.", machine_table(table))
    head = tables[0].record.head
    title = f"{OURS} beside other allocators"
    level = "short rows" if tables[0].record.options["quick"] else "full rows"
    about = f"{head.get('date', '')[:10]} · {head.get('cpu', '')} · {head.get('kernel', '')} · {level}"
    with open(CSS, encoding="utf-8") as file:
        css = file.read()
    body = tag("h1", title) + tag("div", escape(about), "soft") + "".join(tiles(t) for t in speed) + page.links() \
        + failed + "".join(content for _, _, content in page.sections)
    return ('<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
            '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
            + tag("title", title) + tag("style", css) + "</head>\n<body>" + tag("main", body) + "</body></html>\n")
