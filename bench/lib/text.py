# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
"""The report as text."""

import targets
from machine import OURS


def number(value):
    """Three or four digits that matter."""
    if value is None:
        return "-"
    size = abs(value)
    if size >= 1e6:
        return f"{value / 1e6:.{1 if size >= 1e8 else 2}f}M"
    if size < 1:
        return f"{value:#.3g}" if value else "0"
    return f"{value:.{0 if size >= 1000 else 1 if size >= 100 else 2}f}"


def cell(line, allocator):
    failed, runs = len(line.failed.get(allocator, [])), line.samples.runs.get(allocator, 0)
    if failed and failed == runs:
        return "FAILED"
    if line.medians[allocator] is None:
        return "-"
    return number(line.medians[allocator]) + ("!" if failed else "")


def ratio(found):
    if found is None:
        return "-"
    interval = f"({found.low:.2f} .. {found.high:.2f})" if found.interval else "(too few rounds)"
    return f"{found.middle:5.2f}  {interval}"


def percent(share):
    """Rounded down: 80 % is reached at 80 %."""
    return f"{int(share * 100 + 1e-9)} %"


def target(group):
    words = []
    if group.mean is not None:
        words.append(f"mean {group.mean:.2f}")
    if group.most is not None:
        words.append(f"each {group.most:.2f}" + (" within the interval" if group.within else ""))
    if group is targets.WHOLE:
        words.append(f"first in {percent(targets.FIRST_SHARE)}")
    return ", ".join(words) or "-"


def rows_table(table):
    names = table.allocators
    width = max(len(line.samples.name) for line in table.lines)
    yield f"{'':{width}}  {'':18}" + "".join(f"{n[:11]:>12}" for n in names) + "    ratio (95 %)          to"
    for line in table.lines:
        text = f"{line.samples.name:{width}}  {line.metric or '':18}" + "".join(f"{cell(line, n):>12}" for n in names)
        yield text + f"    {ratio(line.ratio):20}  {line.best or ''}".rstrip()
    yield ""
    yield f"Medians. Ratio: {OURS} over the best other, the median of the paired ratios; below 1 is better."
    if any(line.failed for line in table.lines):
        yield "!: some runs failed, and are not in the median."


def groups_table(table):
    whole = table.whole()
    yield f"{'':54}{'rows':>5}{'mean':>7}{'first or tied':>15}{'highest':>9}{'above':>7}  target"
    for result in table.groups() + [whole]:
        mean = f"{result.mean:.2f}" if result.mean else "-"
        high = f"{result.highest.ratio.middle:.2f}" if result.highest else "-"
        first = f"{result.first} ({percent(result.first / len(result.lines))})" if result.lines else "-"
        over = "-" if result.group.most is None else len(result.over)
        yield (f"{result.group.title:54}{len(result.lines):5}{mean:>7}{first:>15}{high:>9}{over:>7}  "
               f"{target(result.group)}")
    yield from remarks(table)


def remarks(table):
    """Targets that are not ratios to the best."""
    for result in table.groups():
        if result.group.script:
            below = sum(line.ratio.middle < targets.PROGRAMS_BELOW for line in result.with_ratio)
            yield f"Real programs below {targets.PROGRAMS_BELOW}: {below} of {len(result.lines)} (target: most)."
    started = table.start_up()
    if started:
        yield (f"Start-up of true, beyond glibc's: {started[0]:+.2f} ms, {started[1]:+.0f} system calls (target: "
               f"{targets.START_MS:+.1f} ms and {targets.START_CALLS:+d} at most).")


def claim_beaten(claim, ours, times_better):
    """An absolute figure by ours here, a factor by our factor."""
    if claim.figure is None:
        return times_better.middle >= claim.factor
    value = claim.in_unit(ours)
    return value >= claim.figure if claim.inverse else value <= claim.figure


def claim_cells(claim, ours, theirs, times_better):
    """claimed, glibc here, ours here, ours against glibc"""
    claimed = f"{claim.figure:g} {claim.unit}" if claim.figure else f"{claim.factor:.2f} times"
    if claim.figure:
        shown = [f"{number(claim.in_unit(v))} {claim.unit}" for v in (theirs, ours)]
    else:
        unit = " MiB" if claim.metric.endswith("_rss") else " s"
        shown = [number(v / 1024 if unit == " MiB" else v) + unit for v in (theirs, ours)]
    interval = f" ({times_better.low:.2f} .. {times_better.high:.2f})" if times_better.interval else ""
    return [claimed] + shown + [f"{times_better.middle:.2f} times{interval}"]


def claims_table(table):
    found = list(table.claims())
    if not found:
        return
    titles = [claim.title + (f" ({claim.note})" if claim.note else "") for claim, *_ in found]
    width = max(map(len, titles))
    yield f"{'':{width}}{'claimed':>12}{'glibc here':>14}{'ours here':>14}  ours against glibc"
    for title, claim in zip(titles, found):
        cells = claim_cells(*claim)
        yield f"{title:{width}}{cells[0]:>12}{cells[1]:>14}{cells[2]:>14}  {cells[3]}"


def standings(table):
    yield f"{'each over the best of each row':32}{'mean':>6}   within {percent(targets.NEAR - 1)} of it    worst"
    for name, mean, near, figures, worst, where in table.standings():
        yield f"{name:32}{mean:6.2f}   {f'{near} of {figures}':>15}   {number(worst):>6}  {where}"


def failures_list(table):
    for row, allocator, failed, runs, reason in table.failures():
        yield f"FAILED: {row} ({allocator}), {failed} of {runs} runs: {reason}"


def report(table):
    """Of a speed bench."""
    parts = [rows_table(table), groups_table(table), standings(table), claims_table(table), failures_list(table)]
    return "\n\n".join(text for text in ("\n".join(part) for part in parts) if text) + "\n"
