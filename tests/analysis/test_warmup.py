"""MSER-5 finds the end of a transient, and says so when there is none or no end."""

from __future__ import annotations

import math
import random

from svcsim.analysis.warmup import mser5


def noise(count: int, seed: int = 1) -> list[float]:
    draws = random.Random(seed)
    return [draws.gauss(10, 1) for _ in range(count)]


def test_a_level_start_is_left_out() -> None:
    assert mser5([100.0] * 50 + noise(1000)) == 50


def test_a_fading_transient_is_cut_where_it_drowns_in_noise() -> None:
    found = mser5([value + 50 * math.exp(-i / 40) for i, value in enumerate(noise(2000))])
    assert found is not None
    assert 100 <= found <= 260


def test_a_steady_run_loses_little() -> None:
    found = mser5(noise(2000, seed=3))
    assert found is not None
    assert found <= 200


def test_a_run_that_never_settles_has_no_point() -> None:
    assert mser5([float(i) for i in range(1000)]) is None


def test_too_few_observations_have_no_point() -> None:
    assert mser5(noise(49)) is None


def test_the_level_does_not_matter() -> None:
    values = [100.0] * 50 + noise(500)
    assert mser5(values) == mser5([value + 1e9 for value in values]) == 50
