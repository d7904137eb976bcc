# SPDX-License-Identifier: MIT
# Copyright (c) 2026 the nearmalloc authors
"""How a quantity grows with time, and how sure that is."""

BLOCKS = 10
T_999 = 4.501  # Student's t of BLOCKS - 2 degrees of freedom, one side, 99.9 %
SHARE_LEAST, MIB_LEAST = 0.1, 4.0  # less growth than this over the whole time is none


class Slope:
    """
    A line through [(seconds, MiB)]. Neighbours are alike, so it goes through the means of BLOCKS equal stretches of time,
    which are more or less independent; their distance from it is the noise.
    """

    def __init__(self, samples):
        self.known = len(samples) >= 2 * BLOCKS
        if not self.known:
            return
        first, last = samples[0][0], samples[-1][0]
        self.seconds = last - first
        points = [p for p in (self.block(samples, first, i) for i in range(BLOCKS)) if p]
        n = len(points)
        mean_t = sum(t for t, _ in points) / n
        self.mean = sum(y for _, y in points) / n
        spread = sum((t - mean_t) ** 2 for t, _ in points)
        self.slope = sum((t - mean_t) * (y - self.mean) for t, y in points) / spread
        rest = sum((y - self.mean - self.slope * (t - mean_t)) ** 2 for t, y in points)
        self.noise = T_999 * (rest / max(n - 2, 1) / spread) ** 0.5

    def block(self, samples, first, i):
        width = self.seconds / BLOCKS
        inside = [(t, y) for t, y in samples if i * width <= t - first <= (i + 1) * width]
        return inside and (sum(t for t, _ in inside) / len(inside), sum(y for _, y in inside) / len(inside))

    def grows(self):
        """Surely, and by an amount that matters. What was not measured is not known not to."""
        if not self.known:
            return True
        return self.slope > self.noise and self.slope * self.seconds > max(MIB_LEAST, SHARE_LEAST * self.mean)

    def __str__(self):
        if not self.known:
            return "too few samples"
        return (
            f"{self.mean:.1f} MiB, {60 * self.slope:+.3f} +- {60 * self.noise:.3f} MiB per minute "
            f"over {self.seconds:.0f} s"
        )
