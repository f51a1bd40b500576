"""Distributions as inverse functions: a quantile in [0, 1) in, integer nanoseconds out.

A request carries its quantile; the server that takes it turns it into a time. So a slower or a different server keeps the
same draw, and runs that differ in the mode compare the same requests. Only `math` is used, never a SIMD function whose last bit
may differ between machines.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence
from statistics import NormalDist

Quantile = Callable[[float], int]

_inverse_normal = NormalDist().inv_cdf
_LEAST = 2.0**-54


def constant(value_ns: int) -> Quantile:
    """Always the same."""
    return lambda u: value_ns


def exponential(mean_ns: float) -> Quantile:
    """Exponential with this mean."""
    log1p = math.log1p
    return lambda u: round(-mean_ns * log1p(-u))


def uniform(low_ns: int, high_ns: int) -> Quantile:
    """Evenly between two values."""
    span = high_ns - low_ns
    return lambda u: low_ns + round(u * span)


def lognormal(median_ns: float, p99_ns: float) -> Quantile:
    """Lognormal with this median and 99th percentile.

    >>> q = lognormal(2_000_000, 8_000_000)
    >>> q(0.5), abs(q(0.99) - 8_000_000) < 10
    (2000000, True)
    """
    mu = math.log(median_ns)
    sigma = math.log(p99_ns / median_ns) / _inverse_normal(0.99)
    exp = math.exp
    return lambda u: round(exp(mu + sigma * _inverse_normal(u if u > _LEAST else _LEAST)))


def gamma(mean_ns: float, shape: float, points: int = 4096) -> Quantile:
    """Gamma with this mean and shape, by interpolation in a table of quantiles (exact at the points, tail included)."""
    from scipy.special import gammaincinv

    levels = [(i + 0.5) / points for i in range(points)] + [1 - 2.0**-k for k in range(13, 54)]
    levels.sort()
    scale = mean_ns / shape
    values = [float(gammaincinv(shape, level)) * scale for level in levels]

    def quantile(u: float) -> int:
        i = bisect.bisect_right(levels, u)
        if i == 0:
            return round(values[0] * u / levels[0])
        if i == len(levels):
            return round(values[-1])
        low, high = levels[i - 1], levels[i]
        return round(values[i - 1] + (values[i] - values[i - 1]) * (u - low) / (high - low))

    return quantile


def empirical(samples_ns: Sequence[int]) -> Quantile:
    """The values of a sample, each as likely as the others."""
    ordered = sorted(samples_ns)
    count = len(ordered)
    return lambda u: ordered[int(u * count)]
