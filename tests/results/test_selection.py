"""Figures over requests: nearest-rank quantiles, failures as infinite, success without those whose client was gone, balance."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcsim.errors import UsageError
from svcsim.results.records import Outcome, RecordWriter
from svcsim.results.selection import Latency, Names, Selection, pooled

NAMES = Names(("web-load", "other"), ("web-0", "web-1", "web-2"), ("node",), ((0, 1, 2), (0,)))


def selection(*rows: tuple[int, int, int, int]) -> Selection:
    """Requests given as (workload, latency, outcome, endpoint)."""
    writer = RecordWriter()
    for sequence, (workload, latency, outcome, endpoint) in enumerate(rows):
        writer.row(workload, sequence, sequence, latency, 0, 0, 0, 0, 0, 0, latency, 0, outcome, 1, endpoint, 0, 0, 1, 0)
    return Selection(writer.columns(), NAMES)


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=300), st.sampled_from([0.0, 0.5, 0.9, 0.99, 0.999, 1.0]))
def test_a_quantile_is_the_least_latency_that_the_share_stayed_within(latencies: list[int], share: float) -> None:
    value = Latency(np.array(latencies)).quantile(share)
    assert value in latencies
    within = sum(latency <= value for latency in latencies)
    below = sum(latency < value for latency in latencies)
    assert within >= share * len(latencies) - 1e-6
    assert below < share * len(latencies) or below == 0


def test_a_quantile_of_a_round_count_takes_no_value_too_far_up() -> None:
    latency = Latency(np.arange(1, 1001))
    assert (latency.p50, latency.p90, latency.p99, latency.p999, latency.max) == (500, 900, 990, 999, 1000)
    assert latency.mean == 500.5


def test_failures_count_as_infinite_in_latency_all_only() -> None:
    chosen = selection((0, 10, 0, 0), (0, 20, 0, 1), (0, 5, Outcome.REFUSED, -1))
    assert chosen.latency.max == 20
    assert chosen.latency_all.p50 == 20
    assert math.isinf(chosen.latency_all.max)
    assert math.isinf(chosen.latency_all.mean)


def test_without_a_request_every_figure_is_nan() -> None:
    nothing = selection()
    assert all(map(math.isnan, (nothing.latency.p50, nothing.latency.mean, nothing.success, nothing.balance)))
    assert nothing.reasons == {}


def test_a_client_that_was_gone_is_out_of_success_and_error_rate() -> None:
    chosen = selection((0, 1, 0, 0), (0, 1, 0, 0), (0, 1, 0, 0), (0, 1, Outcome.RESET, 0), (0, 0, Outcome.CLIENT_GONE, -1))
    assert (chosen.success, chosen.error_rate) == (0.75, 0.25)
    assert chosen.reasons == {Outcome.RESET: 1}
    assert chosen.outcomes[Outcome.CLIENT_GONE] == 1


def test_balance_counts_endpoints_that_never_answered() -> None:
    chosen = selection((0, 1, 0, 0), (0, 1, 0, 0), (0, 1, 0, 1), (0, 9, Outcome.RESET, 2))
    assert chosen.answered_by() == {"web-0": 2, "web-1": 1, "web-2": 0}
    assert chosen.balance == 2.0


def test_balance_is_that_of_the_worst_workload() -> None:
    even = [(0, 1, 0, endpoint) for endpoint in (0, 1, 2)]
    assert selection(*even).balance == 1.0
    assert selection(*even, (1, 1, 0, 0)).balance == 1.0
    assert selection(*even, (1, 1, 0, 0), (1, 1, 0, 1), (1, 1, 0, 0)).balance == pytest.approx(4 / 3)


def test_a_workload_is_chosen_by_name_and_a_misspelt_one_is_named() -> None:
    chosen = selection((0, 1, 0, 0), (1, 2, 0, 0))
    assert chosen.of_workload("other").latency.max == 2
    with pytest.raises(UsageError, match=r"'web-laod' \(did you mean 'web-load'\?\)"):
        chosen.of_workload("web-laod")


def test_parts_are_means_over_successes() -> None:
    chosen = selection((0, 10, 0, 0), (0, 30, 0, 0), (0, 500, Outcome.REQUEST_TIMEOUT, 0))
    assert chosen.parts()["service_ns"] == 20.0
    assert sum(chosen.parts().values()) == chosen.latency.mean


def test_pooled_requests_are_those_of_all_replications() -> None:
    both = pooled([selection((0, 1, 0, 0)), selection((0, 3, 0, 0), (0, 5, Outcome.RESET, 0))])
    assert (len(both), both.latency.max, both.success) == (3, 3, 2 / 3)
