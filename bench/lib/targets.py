# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
"""
What is expected of the figures: groups of rows with the ratios that they should not exceed, and what predecessors of
this library claimed for theirs.
"""

import re

TWO_OR_EIGHT = (
    r"producer_consumer through=rings producers=(1 consumers=1|4 consumers=4) |pairs pairs=(1|4|16) "
    r"|xmalloc allocating=(1 freeing=1|4 freeing=4) |(larson|mstress) threads=[28] "
)


class Group:
    """`mean` and `most`: limits for the geometric mean of the ratios and for each of them; more: other limits by row.
    within: a row holds if its interval reaches the limit."""

    def __init__(self, title, rows, mean=None, most=None, more=(), within=False, script=False):
        self.title, self.rows, self.mean, self.most = title, re.compile(rows), mean, most
        self.more, self.within, self.script = more, within, script

    def limit(self, name):
        return next((limit for pattern, limit in self.more if re.match(pattern, name + " ")), self.most)


GROUPS = [
    Group("pair table", r"pair_table ", mean=0.85, most=1.05,
          more=[(r"pair_table size=1024 live=10000 order=random touch=1 ", 1.15)]),
    Group("objects that change threads, 2 and 8 threads", TWO_OR_EIGHT, most=0.90),
    Group("fragmentation, stores, packets, churn, chaos, reclaim",
          r"(fragmentation|kv_store|packet_churn|multithread_churn|chaos|rss_reclaim) ", most=0.95),
    Group("false sharing", r"cache_(scratch|thrash) ", most=1.00, within=True),
    Group("tail latency, p99 and p99.9", r"tail_latency ", most=1.00, within=True),
    Group("real programs", r"", most=1.00, script=True),
    Group("all other rows", r""),
]
WHOLE = Group("the whole table", r"", mean=0.90)
FIRST_SHARE = 0.80  # of the whole table, first or tied
PROGRAMS_BELOW = 0.97  # in most of the real programs

NEAR = 1.05  # of the best: what the standings count

START_MS, START_CALLS = 1.0, 40  # more than glibc, at most

# Rows that count by other figures than their first.
FIGURES = {"tail_latency": ["malloc_p99_ns", "free_p99_ns", "malloc_p99.9_ns", "free_p99.9_ns"]}
SHOWN_BESIDE = {"tail_latency": ["malloc_p99.99_ns", "malloc_max_ns"], "startup": ["system_calls"]}


class Claim:
    """factor: how many times better than glibc; figure: an absolute one, in `unit`. inverse: a rate of a time."""

    def __init__(self, title, row, metric, factor=None, figure=None, unit="", scale=1.0, inverse=False, note=""):
        self.title, self.row, self.metric, self.factor = title, re.compile(row), metric, factor
        self.figure, self.unit, self.scale, self.inverse, self.note = figure, unit, scale, inverse, note

    def in_unit(self, value):
        return self.scale / value if self.inverse else value * self.scale


CLAIMS = [
    Claim("producer/consumer, through a queue: +26 %", r"producer_consumer through=queue producers=1 consumers=1 ",
          "seconds", factor=1.26),
    Claim("key-value store: +11 %", r"kv_store ", "seconds", factor=1.11),
    Claim("packets of 1,540 bytes: +3 %", r"packet_churn size=1540 ", "seconds", factor=1.03),
    Claim("fragmentation, RSS at the end: 9 times less", r"fragmentation fill=256 ", "end_rss", factor=9),
    Claim("slab latency, malloc", r"slab_latency ", "malloc_ns", figure=21.8, unit="ns"),
    Claim("slab latency, free", r"slab_latency ", "free_ns", figure=11.2, unit="ns"),
    Claim("16 pairs of threads", r"pairs pairs=16 ", "ns_per_op", figure=24, unit="M/s", scale=1e3, inverse=True),
    Claim("chaos: 11.9 s where glibc takes 7.35 s", r"chaos ", "seconds", factor=7.35 / 11.9,
          note="theirs with 20,000 blocks"),
]

PEAK = 1.05  # of the best other's peak RSS, at most

# Columns of the memory tables: title, metrics (the first that a row has), divisor, unit.
MEMORY_COLUMNS = [
    ("Peak RSS", ["peak_rss", "run_peak_rss"], 1024, "MiB"),
    ("RSS at the end of the work", ["refilled_rss", "end_rss"], 1024, "MiB"),
    ("RSS when all is freed", ["freed_rss"], 1024, "MiB"),
    ("RSS {settle:g} s after all is freed", ["settled_rss", "end_rss@refilled_rss"], 1024, "MiB"),
    ("Page faults", ["minor_faults", "run_minor_faults"], 1000, "thousands"),
    ("Time", ["seconds", "run_wall_s"], 1, "s"),
]
MEMORY_FIGURES = [
    "rss_over_live", "bytes_per_object", "per_thread_kib", "settled_per_thread_kib", "growth_kib", "slope_kib_per_s",
    "until_tenth_ms", "until_base_ms", "cold_ns", "cold_over_warm", "halved_rss",
]
