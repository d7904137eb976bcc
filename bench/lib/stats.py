# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
"""Medians, ratios of paired samples with their confidence intervals, geometric means."""

import math
import random
import statistics

RESAMPLES = 2000
LEAST_FOR_INTERVAL = 3  # pairs; of fewer nothing can be said

median = statistics.median


def geometric_mean(values):
    return math.exp(statistics.fmean(map(math.log, values)))


def bootstrap(values, share=0.95, seed=1):
    """The interval that the median of resamples lies in with that share; None of too few values."""
    if len(values) < LEAST_FOR_INTERVAL:
        return None
    rng = random.Random(seed)
    medians = sorted(median(rng.choices(values, k=len(values))) for _ in range(RESAMPLES))
    tail = (1 - share) / 2
    return medians[round(tail * (RESAMPLES - 1))], medians[round((1 - tail) * (RESAMPLES - 1))]


def paired_ratios(ours, others, better):
    """Of two {round: value}, by the rounds that both have; below 1 is good for the first."""
    turned = better == "higher"
    for turn in sorted(ours.keys() & others.keys()):
        a, b = (others[turn], ours[turn]) if turned else (ours[turn], others[turn])
        if a > 0 and b > 0:
            yield a / b


class Ratio:
    """The median of paired ratios, and its 95 % interval."""

    def __init__(self, pairs):
        self.middle = median(pairs)
        self.interval = bootstrap(pairs)

    @property
    def low(self):
        return self.interval[0] if self.interval else self.middle

    @property
    def high(self):
        return self.interval[1] if self.interval else self.middle


def ratio(ours, others, better):
    """None where no round has both."""
    pairs = list(paired_ratios(ours, others, better))
    return Ratio(pairs) if pairs else None
