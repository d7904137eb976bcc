# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
"""The bench's statistics against figures that are known; argv[1]: bench/lib. Reports as a test script does."""

import math
import random
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])

import plan  # noqa: E402
import record  # noqa: E402
import stats  # noqa: E402


def check(name, got, want):
    same = got == want if not isinstance(want, float) else math.isclose(got, want, rel_tol=1e-12)
    print(f"ok {name}" if same else f"not ok {name}\n  got {got}, want {want}")


def coverage(n, samples):
    """How often the interval of n numbers from a skewed distribution holds its median."""
    rng = random.Random(7)
    held = 0
    for _ in range(samples):
        low, high = stats.bootstrap([rng.expovariate(1) for _ in range(n)])
        held += low <= math.log(2) <= high
    return held / samples


check("stats: geometric mean", stats.geometric_mean([1, 2, 4, 8]), 2 * math.sqrt(2))
check("stats: median of an even number", stats.median([4, 1, 3, 2]), 2.5)

# A resample of 1..n has its median at most k with the probability that more than half of n draws are at most k: for n =
# 9, 0.001 for k = 1 and 0.030 for k = 2; for n = 3, 0.26 for k = 1.
check("stats: interval of nine", stats.bootstrap(list(range(1, 10))), (2, 8))
check("stats: interval of three", stats.bootstrap([3, 1, 2]), (1, 3))
check("stats: interval of nine, 50 %", stats.bootstrap(list(range(1, 10)), 0.5), (4, 6))
check("stats: interval of what does not vary", stats.bootstrap([1.5] * 7), (1.5, 1.5))
check("stats: no interval of two", stats.bootstrap([1, 2]), None)

# That of five is from the least to the greatest, and fails when all are on one side: 1 - 2/32 of them hold.
found = coverage(5, 1000)
good = abs(found - 30 / 32) < 0.025
print("ok stats: intervals hold the median" if good else f"not ok stats: {found:.1%} hold the median")

pairs = stats.paired_ratios
check("stats: pairs are those of the same round", list(pairs({0: 2, 1: 9, 3: 6}, {3: 3, 0: 4}, "lower")), [0.5, 2])
check("stats: more is better", list(pairs({0: 20}, {0: 10}, "higher")), [0.5])
check("stats: nothing to compare", stats.ratio({0: 1}, {1: 1}, "lower"), None)

# Rounds: short rows more often, never less than enough, and no more than fits.
share = plan.share_rounds
check("plan: the time is shared", share({"short": 1, "long": 10}, 2, 100, 3, 3, 15), {"short": 15, "long": 3})
check("plan: enough when there is no time", share({"a": 50, "b": 70}, 2, 100, 5, 3, 15), {"a": 3, "b": 3})
check("plan: the least when that fits", share({"a": 10, "b": 1}, 2, 120, 5, 3, 15), {"a": 5, "b": 10})
check("plan: the most when there is enough", share({"a": 1, "b": 2}, 2, 1000, 3, 3, 15), {"a": 15, "b": 15})
check("plan: nothing more when the time is over", share({"a": 1}, 2, -5, 0, 0, 15), {"a": 0})


class Row:
    """As far as the plan needs one."""

    script, workload = False, "made_up"

    def __init__(self, arguments):
        self.arguments = arguments


def carry_out(rows, seconds, options):
    """[rounds of each row] when a run takes so long."""
    made = plan.Plan(rows, ["a", "b"], options)
    for turn, row, _order, name in made.steps():
        run = record.Run(turn, 0, name, row.workload, row.arguments)
        run.add("run_wall_s", seconds[row.arguments] - plan.OVERHEAD, "lower")
        made.finished(run)
    return [len(made.walls[row]) / 2 for row in rows]


quick = {"quick": True, "memory": False, "rounds": None}
two = [Row("long"), Row("short")]
check("plan: costs are learnt", carry_out(two, {"long": 54, "short": 10}, quick), [3, 7])
check("plan: as many rounds as asked", carry_out(two, {"long": 9, "short": 1}, dict(quick, rounds=2)), [2, 2])
