"""Where a run has settled: the truncation point by MSER-5.

Means of five observations each are formed; the point is the number of leading means to leave out that makes the standard error of
the rest smallest, among the first half. It finds a transient from an empty start; a fault or a ramp is no transient, so it is for
steady scenarios alone. Reference: K. P. White, M. J. Cobb, S. C. Spratt (2000), A comparison of five steady-state truncation
heuristics for simulation, Proc. Winter Simulation Conference.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

BATCH = 5
LEAST_BATCHES = 10


def mser5(values: Sequence[float]) -> int | None:
    """How many leading observations to leave out (a multiple of five); None if there are too few, or no point is found.

    None too if the best point is the last one allowed: then the run has not settled, and a longer one is needed.

    >>> mser5([9.0] * 20 + [1.0, 2.0] * 90)
    20
    """
    batches = len(values) // BATCH
    if batches < LEAST_BATCHES:
        return None
    means = [sum(values[i * BATCH : (i + 1) * BATCH]) / BATCH for i in range(batches)]
    # Suffix sums about a fixed shift, so that far-off levels lose no digits.
    shift = means[-1]
    sums = list(accumulate(mean - shift for mean in reversed(means)))
    squares = list(accumulate((mean - shift) ** 2 for mean in reversed(means)))
    best, best_error = 0, float("inf")
    last = batches // 2
    for left_out in range(last + 1):
        kept = batches - left_out
        total, square = sums[kept - 1], squares[kept - 1]
        error = max(0.0, square - total * total / kept) / (kept * kept)
        if error < best_error:
            best, best_error = left_out, error
    return None if best == last else best * BATCH
