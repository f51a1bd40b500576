"""Queueing formulas against textbook values and against each other."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcsim.analysis.queueing import (
    erlang_b,
    erlang_c,
    lognormal_scv,
    md1,
    mg1,
    mm1,
    mm1_sojourn_quantile,
    mmc,
    mmc_wait_quantile,
)
from svcsim.errors import UsageError

loads = st.floats(0.01, 0.99)
times = st.floats(1e-6, 1e6)


@pytest.mark.parametrize(("load", "sojourn"), [(0.5, 2.0), (0.8, 5.0), (0.9, 10.0), (0.95, 20.0)])
def test_mm1_sojourn(load: float, sojourn: float) -> None:
    assert mm1(load, 1.0).mean_sojourn == pytest.approx(sojourn)


def test_mm1_numbers_present() -> None:
    queue = mm1(0.75, 1.0)
    assert queue.mean_present == pytest.approx(3.0)
    assert queue.mean_waiting == pytest.approx(2.25)
    assert queue.wait_probability == pytest.approx(0.75)


@pytest.mark.parametrize(("servers", "load", "blocked"), [(1, 1.0, 0.5), (2, 1.0, 0.2), (5, 3.0, 0.110054), (10, 5.0, 0.018385)])
def test_erlang_b_table(servers: int, load: float, blocked: float) -> None:
    assert erlang_b(servers, load) == pytest.approx(blocked, abs=1e-6)


@pytest.mark.parametrize(("servers", "load", "waits"), [(1, 0.6, 0.6), (2, 1.0, 1 / 3), (3, 2.0, 4 / 9), (5, 4.0, 0.554113)])
def test_erlang_c_table(servers: int, load: float, waits: float) -> None:
    assert erlang_c(servers, load) == pytest.approx(waits, abs=1e-6)


def test_mmc_wait() -> None:
    assert mmc(2.0, 1.0, 3).mean_wait == pytest.approx(4 / 9)
    assert mmc(2.0, 1.0, 3).mean_sojourn == pytest.approx(13 / 9)


def test_constant_service_halves_the_wait_of_exponential_service() -> None:
    assert md1(0.8, 1.0).mean_wait == pytest.approx(mm1(0.8, 1.0).mean_wait / 2) == pytest.approx(2.0)


def test_mg1_of_an_erlang_2_service() -> None:
    assert mg1(0.5, 1.0, 0.5).mean_wait == pytest.approx(0.75)


@given(loads, times)
def test_mm1_is_mg1_with_a_variation_of_one_and_mmc_with_one_server(load: float, mean: float) -> None:
    rate = load / mean
    assert mg1(rate, mean, 1.0).mean_wait == pytest.approx(mm1(rate, mean).mean_wait)
    assert erlang_c(1, load) == pytest.approx(load)


@given(loads, st.integers(1, 60))
def test_more_servers_of_the_same_total_speed_wait_less_and_serve_longer(load: float, servers: int) -> None:
    one, many = mm1(load, 1.0), mmc(load, float(servers), servers)
    assert many.mean_wait <= one.mean_wait * (1 + 1e-9)
    assert many.mean_sojourn >= one.mean_sojourn * (1 - 1e-9)


def test_quantiles() -> None:
    assert mm1_sojourn_quantile(0.9, 1.0, 0.99) == pytest.approx(math.log(100) * 10)
    assert mmc_wait_quantile(2.0, 1.0, 3, 0.5) == 0.0
    at = mmc_wait_quantile(2.0, 1.0, 3, 0.9)
    assert 4 / 9 * math.exp(-(3 - 2) * at) == pytest.approx(0.1)


def test_variation_of_a_lognormal_by_median_and_p99() -> None:
    assert lognormal_scv(2.0, 2.0) == 0.0
    sigma = math.log(4) / 2.3263478740408408
    assert lognormal_scv(2.0, 8.0) == pytest.approx(math.exp(sigma**2) - 1)


@pytest.mark.parametrize("call", [
    lambda: mm1(1.0, 1.0), lambda: mm1(0.0, 1.0), lambda: mmc(3.0, 1.0, 2), lambda: mmc(1.0, 1.0, 0), lambda: mg1(0.5, 1.0, -1.0),
    lambda: mm1(math.nan, 1.0), lambda: erlang_b(0, 1.0), lambda: mm1_sojourn_quantile(0.5, 1.0, 1.0),
    lambda: lognormal_scv(3.0, 2.0),
])
def test_what_has_no_steady_state_is_refused(call: object) -> None:
    assert callable(call)
    with pytest.raises(UsageError):
        call()
