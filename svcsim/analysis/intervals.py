"""Differences between modes over replications that share their random numbers, and verdicts on many of them at once.

Replication i of each mode has the same arrivals and service times, so differences are taken pairwise: what is common cancels.
A run's own requests are never samples of each other. References: A. M. Law, Simulation Modeling and Analysis, 5th ed. (2015),
10.2 (paired t) and 11.2 (common random numbers); S. Holm (1979), A simple sequentially rejective multiple test procedure.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from svcsim.errors import UsageError
from svcsim.results.comparison import Interval, t_interval


@dataclass(frozen=True, slots=True)
class Difference:
    """The mean of b - a over paired replications, its interval, and the two-sided p-value of "there is none"."""

    interval: Interval
    p_value: float


def paired_difference(a: Sequence[float], b: Sequence[float], level: float = 0.95) -> Difference | None:
    """How b differs from a, pair by pair; None for fewer than two pairs or where a value is not finite.

    >>> found = paired_difference([1.0, 2.0, 3.0, 4.0], [1.5, 2.4, 3.6, 4.5])
    >>> round(found.interval.mean, 3), found.p_value < 0.01
    (0.5, True)
    """
    if len(a) != len(b):
        raise UsageError(f"pairs are needed: the two sides have {len(a)} and {len(b)} replications")
    differences = [second - first for first, second in zip(a, b, strict=True)]
    interval = t_interval(differences, level)
    if interval is None:
        return None
    return Difference(interval, p_value_of_zero(differences))


def p_value_of_zero(values: Sequence[float]) -> float:
    """Two-sided p-value of Student's t for the mean of independent values being zero; 1 where all are zero."""
    mean, spread = statistics.fmean(values), statistics.stdev(values)
    if spread == 0.0:
        return 1.0 if mean == 0.0 else 0.0
    from scipy.special import stdtr

    t = abs(mean) / (spread / math.sqrt(len(values)))
    return 2.0 * float(stdtr(len(values) - 1, -t))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values: rejecting those at most alpha keeps the chance of any wrong rejection at alpha.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    if not all(0.0 <= p <= 1.0 for p in p_values):
        raise UsageError("p-values lie between 0 and 1")
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted


def replications_needed(values: Sequence[float], half_width: float, level: float = 0.95) -> int | None:
    """About how many replications would bring the interval's half width down to this; None if it cannot be told.

    Law 9.4.1: the variance of those at hand is taken for true.
    """
    if half_width <= 0.0:
        raise UsageError(f"a half width above zero is needed (got {half_width})")
    if t_interval(values, level) is None:
        return None
    from scipy.special import stdtrit

    spread = statistics.stdev(values)
    number = len(values)
    while float(stdtrit(number - 1, (1 + level) / 2)) * spread / math.sqrt(number) > half_width:
        number = max(number + 1, math.ceil(number * 1.05))
        if number > 1_000_000:
            return None
    return number
