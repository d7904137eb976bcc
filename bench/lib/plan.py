# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
"""
How often each row is run. The first round tells what each row costs; the rest of the time is shared so that short
rows are run more often than long ones, all of them often enough for an interval, if that can be had in the time.
"""

BUDGET = {"quick": 540, "full": 1680}  # seconds
LEAST = {"quick": 3, "full": 5}  # rounds
MOST = {"quick": 7, "full": 15}
MEMORY_ROUNDS = {"quick": 1, "full": 3}

# Seconds that a row takes, as long as none has been run: only for the estimate before it starts.
GUESS = {
    "pair_table": {"quick": 0.06, "full": 0.1},
    "program": {"quick": 0.25, "full": 0.7},
    "script": {"quick": 1.5, "full": 4},
}


def level(options):
    return "quick" if options["quick"] else "full"


def guess(row, options):
    kind = "script" if row.script else "pair_table" if row.workload == "pair_table" else "program"
    if "ms=600000" in row.arguments:
        return 600
    return GUESS[kind][level(options)]


def rounds_for(share, cost, least, most):
    return max(least, min(most, int(share / cost))) if cost > 0 else most


def share_rounds(costs, allocators, budget, least, most):
    """{row: rounds} of {row: seconds of one run}, as many as fit; the least where that does not."""
    def total(share):
        return sum(cost * allocators * rounds_for(share, cost, least, most) for cost in costs.values())

    low, high = 0.0, budget
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if total(middle) <= budget else (low, middle)
    return {row: rounds_for(low, cost, least, most) for row, cost in costs.items()}


class Plan:
    def __init__(self, rows, allocators, options, runs=()):
        self.rows, self.allocators, self.options = rows, allocators, options
        self.seconds, self.done = {}, set()
        self.rounds = None
        for run in runs:
            self.finished(run)
        self.decide()

    def finished(self, run):
        """Only the first round tells what a row costs, so that a run that is resumed decides alike."""
        self.done.add(run.key)
        if run.turn == 0:
            self.seconds.setdefault((run.workload, run.row), []).append(run.figures.get("run_wall_s", 0))

    def cost(self, row):
        """Seconds of one run, those of resting apart."""
        seen = self.seconds.get((row.workload, row.arguments))
        return sum(seen) / len(seen) if seen else guess(row, self.options)

    def first_round_done(self):
        return all((0, a, r.workload, r.arguments) in self.done for r in self.rows for a in self.allocators)

    def fixed_rounds(self, row):
        if "ms=600000" in row.arguments:
            return 1
        if self.options["rounds"]:
            return self.options["rounds"]
        return MEMORY_ROUNDS[level(self.options)] if self.options["memory"] else None

    def decide(self):
        """After the first round, once and for all."""
        if self.rounds is not None and self.final:
            return
        key = level(self.options)
        self.final = self.first_round_done()
        costs = {row: self.cost(row) for row in self.rows if not self.fixed_rounds(row)}
        self.rounds = {row: self.fixed_rounds(row) for row in self.rows}
        self.rounds.update(share_rounds(costs, len(self.allocators), BUDGET[key], LEAST[key], MOST[key]))

    def steps(self):
        """(turn, row, order, allocator), those that are done left out. The order of the allocators rotates."""
        names = list(self.allocators)
        turn = 0
        while turn == 0 or turn < max(self.rounds.values()):
            for number, row in enumerate(self.rows):
                shift = (turn + number) % len(names)
                for order, name in enumerate(names[shift:] + names[:shift]):
                    if turn < self.rounds[row] and (turn, name, row.workload, row.arguments) not in self.done:
                        yield turn, row, order, name
            turn += 1
            self.decide()

    def seconds_left(self):
        left = 0.0
        for row in self.rows:
            done = sum(1 for key in self.done if key[2:] == (row.workload, row.arguments))
            left += max(0, self.rounds[row] * len(self.allocators) - done) * self.cost_of_time(row)
        return left

    def cost_of_time(self, row):
        """What a run adds to the whole: of rests, several are waited for at once."""
        cost = self.cost(row) + 0.03
        if self.options["memory"] and not row.script:
            seen = (row.workload, row.arguments) in self.seconds
            work = max(0, cost - self.options["settle"]) if seen else cost
            return max(work, self.options["settle"] / RESTING)
        return cost


RESTING = 4  # runs that rest at the same time, with --memory
