# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
"""Pieces of SVG, and axes."""

import math
from html import escape

# Colours and marks differ, so that either is enough to tell the allocators apart.
COLORS = ["#1b5fc4", "#6b7280", "#d1495b", "#23905a", "#d98200", "#8450b0", "#0f8f9c", "#8a5a2b"]
MARKS = ["circle", "square", "triangle", "diamond", "down", "cross", "square", "triangle"]


def element(name, inside=None, **attributes):
    """class_ and text_anchor become class and text-anchor; numbers get two digits behind the point at most."""
    words = []
    for key, value in attributes.items():
        if value is None:
            continue
        text = f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
        words.append(f' {key.rstrip("_").replace("_", "-")}="{escape(text)}"')
    start = f"<{name}{''.join(words)}"
    return f"{start}/>" if inside is None else f"{start}>{inside}</{name}>"


def text(x, y, content, **attributes):
    return element("text", escape(str(content)), x=float(x), y=float(y), **attributes)


def line(x1, y1, x2, y2, **attributes):
    return element("line", x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2), **attributes)


def polyline(points, **attributes):
    return element("polyline", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points), fill="none", **attributes)


def mark(number, x, y, tip="", size=4.0):
    """The mark of an allocator, by its number; the tip is shown when the mouse rests on it."""
    kind, s = MARKS[number % len(MARKS)], size
    shapes = {
        "square": [(-s, -s), (s, -s), (s, s), (-s, s)],
        "triangle": [(0, -1.2 * s), (1.15 * s, s), (-1.15 * s, s)],
        "down": [(0, 1.2 * s), (1.15 * s, -s), (-1.15 * s, -s)],
        "diamond": [(0, -1.35 * s), (1.35 * s, 0), (0, 1.35 * s), (-1.35 * s, 0)],
    }
    inside = element("title", escape(tip)) if tip else None
    paint = {"fill": COLORS[number % len(COLORS)], "stroke": "#fff", "stroke_width": "1"}
    if kind == "circle":
        return element("circle", inside, cx=float(x), cy=float(y), r=s * 1.1, **paint)
    if kind == "cross":
        path = f"M{x - s:.1f} {y - s:.1f}L{x + s:.1f} {y + s:.1f}M{x - s:.1f} {y + s:.1f}L{x + s:.1f} {y - s:.1f}"
        return element("path", inside, d=path, stroke=paint["fill"], stroke_width="2.5")
    points = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in shapes[kind])
    return element("polygon", inside, points=points, **paint)


def drawing(width, height, content, label):
    return element("svg", content, xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {width} {height}", role="img",
                   aria_label=label, width=width, height=height)


# ---- axes -------------------------------------------------------------------------------------------


def nice_steps(low, high, most):
    """Round numbers between two, at most so many."""
    span = (high - low) / most or 1
    unit = 10.0 ** math.floor(math.log10(span))
    step = next(unit * m for m in (1, 2, 5, 10) if unit * m >= span * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def decades(low, high):
    return [10.0 ** e for e in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]


class Linear:
    def __init__(self, low, high, start, end, most=5):
        self.low, self.high, self.start, self.end = low, high if high > low else low + 1, start, end
        self.ticks = nice_steps(self.low, self.high, most)

    def at(self, value):
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


class Log:
    """What is beyond an end is drawn at the end."""

    def __init__(self, low, high, start, end, ticks=None):
        self.low, self.high, self.start, self.end = low, high, start, end
        self.ticks = [t for t in (ticks or decades(low, high)) if low * 0.999 <= t <= high * 1.001]

    def at(self, value):
        value = min(max(value, self.low), self.high)
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.start + share * (self.end - self.start)


def short(value):
    """A number for an axis: 1500 as 1.5 k."""
    for unit, word in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= unit:
            return f"{value / unit:g}{word}"
    return f"{value:g}"
