"""Arrival processes: when the next request is sent, from the time of the last one and a uniform.

Each is a function (last_ns, u) -> next_ns. A rate that changes with time is handled by the time change of a Poisson process: a
unit-rate gap -log(1 - u) is spent along the integrated rate (Cox, Lewis 1966; exact, no thinning), so one uniform makes one
arrival whatever the shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from svcsim.units import S

Arrivals = Callable[[int, float], int]

NEVER_NS = 1 << 62


def poisson(rate_per_s: float) -> Arrivals:
    """Independent arrivals at a constant rate."""
    mean_ns = S / rate_per_s
    log1p = math.log1p
    return lambda last_ns, u: last_ns + round(-mean_ns * log1p(-u))


def constant(rate_per_s: float) -> Arrivals:
    """Evenly spaced arrivals."""
    gap_ns = S / rate_per_s

    def following(last_ns: int, u: float) -> int:
        return round((round(last_ns / gap_ns) + 1) * gap_ns)

    return following


def on_off(rate_per_s: float, on_ns: int, off_ns: int) -> Arrivals:
    """Poisson at a rate for a while, then nothing for a while, and so on; starts on."""
    period_ns = on_ns + off_ns

    def following(last_ns: int, u: float) -> int:
        cycle, into_ns = divmod(last_ns, period_ns)
        busy_ns = cycle * on_ns + min(into_ns, on_ns) + round(-math.log1p(-u) * S / rate_per_s)
        cycles, rest_ns = divmod(busy_ns, on_ns)
        return cycles * period_ns + rest_ns

    return following


def ramp(points: Sequence[tuple[int, float]]) -> Arrivals:
    """Poisson whose rate goes straight from point to point, (time in ns, rate per second), and stays at the last one."""

    def following(last_ns: int, u: float) -> int:
        owed = -math.log1p(-u)
        at_s = last_ns / S
        for (from_ns, from_rate), (to_ns, to_rate) in pairwise(points):
            begin_s, end_s = from_ns / S, to_ns / S
            if at_s >= end_s:
                continue
            slope = (to_rate - from_rate) / (end_s - begin_s)
            start_s = max(at_s, begin_s)
            rate = from_rate + slope * (start_s - begin_s)
            mass = (end_s - start_s) * (rate + to_rate) / 2
            if owed >= mass:
                owed -= mass
                at_s = end_s
                continue
            if abs(slope) < 1e-12:
                return round((start_s + owed / rate) * S)
            root = math.sqrt(max(0.0, rate * rate + 2 * slope * owed))
            return round((start_s + (root - rate) / slope) * S)
        rate = points[-1][1]
        if rate <= 0:
            return NEVER_NS
        return round((max(at_s, points[-1][0] / S) + owed / rate) * S)

    return following


def trace(times_ns: Sequence[int], period_ns: int | None = None) -> Arrivals:
    """Arrivals at given times, in order, counted from when the first is asked for; again after each period if there is one."""
    position = 0
    begin_ns = -1

    def following(last_ns: int, u: float) -> int:
        nonlocal position, begin_ns
        if begin_ns < 0:
            begin_ns = last_ns
        if position == len(times_ns):
            if period_ns is None:
                return NEVER_NS
            position = 0
            begin_ns += period_ns
        position += 1
        return begin_ns + times_ns[position - 1]

    return following
