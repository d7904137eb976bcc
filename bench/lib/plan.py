# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
"""
How often each row is run. Each round tells what the rows cost; the rest of the time is shared so that short rows are
run more often than long ones, and all of them often enough for an interval.
"""

import itertools
import math

BUDGET = {"quick": 540, "full": 1680}  # seconds
LEAST = {"quick": 3, "full": 5}  # rounds, if the time allows
ENOUGH = 3  # for an interval: never less
MOST = {"quick": 7, "full": 15}
MEMORY_ROUNDS = {"quick": 1, "full": 3}
RESTING = 4  # runs that rest at the same time, with --memory
OVERHEAD = 0.03  # seconds beside a run

# Seconds that a row takes, as long as none has been run: only for the estimate before it starts.
GUESS = {
    "pair_table": {"quick": 0.05, "full": 0.09},
    "program": {"quick": 0.15, "full": 0.6},
    "script": {"quick": 0.8, "full": 2},
}


def level(options):
    return "quick" if options["quick"] else "full"


def guess(row, options):
    kind = "script" if row.script else "pair_table" if row.workload == "pair_table" else "program"
    if "ms=600000" in row.arguments:
        return 600
    return GUESS[kind][level(options)]


def share_rounds(costs, allocators, budget, least, enough, most):
    """{row: rounds} of {row: seconds of one run}: as many as fit, all rows the same time; at least `least`, or `enough`
    where that does not fit."""
    if sum(costs.values()) * allocators * least > budget:
        least = enough

    def rounds_in(share, cost):
        return max(least, min(most, int(share / cost)))

    def total(share):
        return sum(cost * allocators * rounds_in(share, cost) for cost in costs.values())

    low, high = 0.0, max(0.0, budget)
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if total(middle) <= budget else (low, middle)
    return {row: rounds_in(low, cost) for row, cost in costs.items()}


class Plan:
    def __init__(self, rows, allocators, options, runs=()):
        self.rows, self.allocators, self.options = rows, allocators, options
        self.walls = {row: [] for row in rows}  # of each run (round, seconds)
        self.names = {(row.workload, row.arguments): row for row in rows}
        self.done = set()
        for run in runs:
            self.finished(run)
        self.rounds = {row: MOST[level(options)] for row in rows}
        self.decide(0)

    def finished(self, run):
        row = self.names.get((run.workload, run.row))
        if row:
            self.done.add((run.turn, run.allocator, row))
            self.walls[row].append((run.turn, run.figures.get("run_wall_s", 0) + OVERHEAD))

    def cost(self, row, before=math.inf):
        """Seconds of one run, as seen in the rounds before that one."""
        seen = [seconds for turn, seconds in self.walls[row] if turn < before]
        return sum(seen) / len(seen) if seen else guess(row, self.options)

    def fixed_rounds(self, row):
        if "ms=600000" in row.arguments:
            return 1
        if self.options["rounds"]:
            return self.options["rounds"]
        return MEMORY_ROUNDS[level(self.options)] if self.options["memory"] else None

    def decide(self, turn):
        """How many rounds, at the beginning of one: by what was seen before, so that a resumed run decides alike. What
        has dropped out does not come back."""
        key = level(self.options)
        spent = sum(seconds for walls in self.walls.values() for t, seconds in walls if t < turn)
        open_rows = [row for row in self.rows if not self.fixed_rounds(row) and self.rounds[row] >= turn]
        costs = {row: self.cost(row, turn) for row in open_rows}
        least, most = max(0, LEAST[key] - turn), MOST[key] - turn
        shared = share_rounds(costs, len(self.allocators), BUDGET[key] - spent, least, max(0, ENOUGH - turn), most)
        for row in self.rows:
            self.rounds[row] = self.fixed_rounds(row) or (turn + shared[row] if row in shared else self.rounds[row])

    def steps(self):
        """(turn, row, order, allocator), those that are done left out. The order of the allocators rotates."""
        names = list(self.allocators)
        for turn in itertools.count():
            self.decide(turn)
            if turn >= max(self.rounds.values()):
                return
            for number, row in enumerate(self.rows):
                shift = (turn + number) % len(names)
                for order, name in enumerate(names[shift:] + names[:shift]):
                    if turn < self.rounds[row] and (turn, name, row) not in self.done:
                        yield turn, row, order, name

    def seconds_left(self):
        left = 0.0
        for row in self.rows:
            left += max(0, self.rounds[row] * len(self.allocators) - len(self.walls[row])) * self.cost_of_time(row)
        return left

    def cost_of_time(self, row):
        """What a run adds to the whole: of rests, several are waited for at once."""
        cost = self.cost(row)
        if self.options["memory"] and not row.script:
            work = max(0, cost - self.options["settle"]) if self.walls[row] else cost
            return max(work, self.options["settle"] / RESTING)
        return cost
