"""Paired differences, Holm's correction, and how many replications an interval needs."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcsim.analysis.intervals import holm, p_value_of_zero, paired_difference, replications_needed
from svcsim.errors import UsageError

probabilities = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def test_law_and_kelton_inventory_example() -> None:
    # Law, 5th ed., example 10.1: five paired replications of two inventory policies.
    first = [126.97, 124.31, 126.68, 122.66, 127.23]
    second = [118.21, 120.22, 122.45, 122.68, 119.40]
    found = paired_difference(second, first, level=0.90)
    assert found is not None
    assert found.interval.mean == pytest.approx(4.98, abs=0.01)
    assert found.interval.low == pytest.approx(1.65, abs=0.01)
    assert found.interval.high == pytest.approx(8.31, abs=0.01)


def test_the_p_value_and_the_interval_agree() -> None:
    values = [0.3, -0.2, 0.5, 0.9, 0.1, 0.4]
    p = p_value_of_zero(values)
    for level, contains_zero in ((1 - p - 0.01, False), (1 - p + 0.01, True)):
        found = paired_difference([0.0] * 6, values, level)
        assert found is not None
        assert (found.interval.low <= 0 <= found.interval.high) is contains_zero


def test_common_parts_cancel() -> None:
    draws = random.Random(1)
    common = [draws.gauss(100, 30) for _ in range(8)]
    found = paired_difference(common, [value + 1 + draws.gauss(0, 0.1) for value in common])
    assert found is not None
    assert found.interval.half_width < 0.2
    assert found.p_value < 1e-6


def test_nothing_is_said_of_too_few_or_infinite_values() -> None:
    assert paired_difference([1.0], [2.0]) is None
    assert paired_difference([1.0, 2.0], [math.inf, 2.0]) is None
    with pytest.raises(UsageError, match="pairs"):
        paired_difference([1.0, 2.0], [1.0])


def test_equal_sides_do_not_differ() -> None:
    found = paired_difference([1.0, 2.0], [1.0, 2.0])
    assert found is not None
    assert found.p_value == 1.0
    assert p_value_of_zero([2.0, 2.0]) == 0.0


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.02, 0.03, 0.04]) == pytest.approx([0.04, 0.06, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
    with pytest.raises(UsageError):
        holm([1.2])


@given(probabilities)
def test_holm_lies_between_no_correction_and_bonferroni_and_keeps_the_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    for p, q in zip(p_values, adjusted, strict=True):
        assert p <= q <= min(1.0, len(p_values) * p) + 1e-12
    pairs = sorted(zip(p_values, adjusted, strict=True))
    assert [q for _, q in pairs] == sorted(adjusted)
    assert min(adjusted) == min(1.0, len(p_values) * min(p_values))


def test_replications_needed_reach_the_half_width() -> None:
    values = [1.0, 2.0, 3.0, 4.0]
    number = replications_needed(values, 0.5)
    assert number is not None
    assert number == pytest.approx((1.96 * 1.29 / 0.5) ** 2, rel=0.15)
    assert replications_needed(values, 100.0) == 4
    assert replications_needed([1.0], 1.0) is None
    assert replications_needed(values, 1e-9) is None
