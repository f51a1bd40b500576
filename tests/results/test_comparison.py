"""Results side by side: grouping, intervals over replications, names."""

from __future__ import annotations

import math

import pytest

from svcsim.errors import UsageError
from svcsim.results.comparison import Comparison, t_interval
from tests.results.synthetic import failover


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return Comparison(failover(("iptables", "ipvs/rr", "ipvs/lc"), replications=2, duration_s=20, rate_per_s=50, faults=()))


def test_replications_of_a_label_are_one_variant(comparison: Comparison) -> None:
    assert comparison.labels == ("iptables", "ipvs/rr", "ipvs/lc")
    assert [run.replication for run in comparison["ipvs/lc"].runs] == [0, 1]
    assert len(comparison["iptables"].measured) == sum(len(run.measured) for run in comparison["iptables"].runs)


def test_a_mode_matches_all_its_schedulers(comparison: Comparison) -> None:
    assert [variant.label for variant in comparison.matching("ipvs")] == ["ipvs/rr", "ipvs/lc"]
    assert [variant.label for variant in comparison.matching("ipvs/lc")] == ["ipvs/lc"]


def test_an_unknown_label_is_an_error_with_the_nearest(comparison: Comparison) -> None:
    with pytest.raises(UsageError, match="did you mean 'iptables'"):
        comparison.matching("iptable")


def test_nothing_to_compare_is_an_error() -> None:
    with pytest.raises(UsageError):
        Comparison([])


def test_the_interval_is_students() -> None:
    # t(0.975, 4) = 2.776 (any table of Student's t); values with mean 10 and standard deviation 1.5811.
    interval = t_interval([8.0, 9.0, 10.0, 11.0, 12.0])
    assert interval is not None
    assert interval.mean == 10.0
    assert interval.half_width == pytest.approx(2.7764 * math.sqrt(2.5) / math.sqrt(5), rel=1e-4)


@pytest.mark.parametrize("values", [[], [1.0], [1.0, math.inf], [math.nan, 1.0]])
def test_there_is_no_interval_without_two_finite_replications(values: list[float]) -> None:
    assert t_interval(values) is None


def test_a_level_outside_zero_and_one_is_an_error() -> None:
    with pytest.raises(UsageError):
        t_interval([1.0, 2.0], level=95)
