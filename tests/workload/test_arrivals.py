"""Arrival processes and service time distributions."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcsim.engine.streams import Stream
from svcsim.units import MS, S
from svcsim.workload import arrivals, distributions


def times(process, until_ns, seed=1):
    draws = (row[0] for row in Stream(seed, "t").uniforms(1))
    at, result = 0, []
    while True:
        at = process(at, next(draws))
        if at >= until_ns:
            return result
        result.append(at)


def test_poisson_arrivals_have_their_rate_and_exponential_gaps():
    instants = times(arrivals.poisson(1000), 200 * S)
    assert len(instants) == pytest.approx(200_000, rel=0.01)
    gaps = [b - a for a, b in pairwise(instants)]
    mean = sum(gaps) / len(gaps)
    deviation = math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / len(gaps))
    assert deviation / mean == pytest.approx(1.0, rel=0.02)


def test_constant_arrivals_are_evenly_spaced_and_do_not_drift():
    instants = times(arrivals.constant(3), 10 * S)
    assert len(instants) in (29, 30)
    assert all(abs(at - (i + 1) * S / 3) <= 1 for i, at in enumerate(instants))


def test_on_off_arrivals_are_silent_when_off():
    instants = times(arrivals.on_off(500, 2 * S, 3 * S), 100 * S)
    assert all(at % (5 * S) <= 2 * S for at in instants)
    assert len(instants) == pytest.approx(500 * 2 * 20, rel=0.03)


def test_a_ramp_integrates_its_rate():
    process = arrivals.ramp([(0, 0.0), (10 * S, 1000.0), (20 * S, 1000.0), (30 * S, 0.0)])
    instants = times(process, 100 * S)
    counts = [sum(lo * S <= at < (lo + 10) * S for at in instants) for lo in (0, 10, 20, 30)]
    assert counts[0] == pytest.approx(5000, rel=0.05)
    assert counts[1] == pytest.approx(10000, rel=0.04)
    assert counts[2] == pytest.approx(5000, rel=0.05)
    assert counts[3] == 0


@pytest.mark.parametrize(
    ("quantile", "mean_ns", "tolerance"),
    [
        (distributions.constant(5 * MS), 5 * MS, 0),
        (distributions.exponential(2 * MS), 2 * MS, 0.01),
        (distributions.uniform(1 * MS, 3 * MS), 2 * MS, 0.01),
        (distributions.gamma(4 * MS, 0.5), 4 * MS, 0.01),
        (distributions.gamma(4 * MS, 3.0), 4 * MS, 0.01),
        (distributions.empirical([1 * MS, 2 * MS, 9 * MS]), 4 * MS, 0.001),
    ],
)
def test_a_distribution_has_its_mean(quantile, mean_ns, tolerance):
    points = 200_000
    mean = sum(quantile((i + 0.5) / points) for i in range(points)) / points
    assert mean == pytest.approx(mean_ns, rel=tolerance)


def test_a_lognormal_has_its_median_and_its_99th_percentile():
    quantile = distributions.lognormal(2 * MS, 8 * MS)
    assert quantile(0.5) == 2 * MS
    assert quantile(0.99) == pytest.approx(8 * MS, abs=5)


@given(st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True))
def test_quantile_functions_rise_and_give_ints(u, v):
    low, high = sorted((u, v))
    for quantile in (
        distributions.exponential(1 * MS),
        distributions.lognormal(1 * MS, 5 * MS),
        distributions.gamma(1 * MS, 0.7),
        distributions.uniform(0, 5),
        distributions.empirical([3, 1, 2]),
    ):
        assert quantile(low) <= quantile(high)
        assert type(quantile(u)) is int
