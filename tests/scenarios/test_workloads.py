"""scenarios/workloads: what each says of how clients send is what comes out."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

import svcsim
from svcsim.results.records import Flag, Outcome, Requests
from svcsim.units import MS, S

FOLDER = Path(__file__).parents[2] / "scenarios" / "workloads"


@cache
def measured(name: str, variant: str) -> Requests:
    [found] = svcsim.run(svcsim.load(FOLDER / f"{name}.yaml"), only=[variant])
    return found.measured.requests


def shares(requests: Requests) -> list[float]:
    """Which share of the requests each pod that had any answered, the largest first."""
    counts = np.bincount(requests.endpoint[requests.outcome == Outcome.OK])
    return sorted((counts[counts > 0] / len(requests)).tolist(), reverse=True)


def test_a_grpc_client_stays_with_one_pod_until_its_connection_is_too_old():
    assert shares(measured("grpc", "kept")) == [1.0]
    aged = measured("grpc", "aged")
    assert max(shares(aged)) < 0.5
    assert set(aged.outcome) == {Outcome.OK}
    assert 50 <= np.count_nonzero(aged.flags & Flag.NEW_CONNECTION) <= 67


def test_a_grpc_client_that_balances_is_even_to_two_calls():
    own = measured("grpc", "own")
    counts = np.bincount(own.endpoint)
    assert max(counts[counts > 0]) - min(counts[counts > 0]) <= 2


def test_a_trace_that_is_played_faster_has_the_same_requests_in_less_time_and_queues_in_its_bursts():
    recorded, faster = measured("trace", "as recorded"), measured("trace", "four times")
    assert len(recorded) == 1787
    assert len(faster) == pytest.approx(4 * len(recorded), rel=0.01)
    assert np.quantile(recorded.latency_ns, 0.9) < 21 * MS
    assert np.quantile(faster.latency_ns, 0.9) > 50 * MS


def test_a_budget_keeps_retries_from_multiplying_the_load():
    def load_while_it_is_down(variant: str) -> float:
        requests = measured("retry-storm", variant)
        down = (requests.start_ns > 20 * S) & (requests.start_ns < 30 * S)
        return float(requests.attempts[down].mean())

    assert load_while_it_is_down("none") == 1.0
    assert load_while_it_is_down("retries") > 3
    assert load_while_it_is_down("budget") < 1.4


def test_a_hedge_takes_the_slow_pod_out_of_the_tail_for_a_few_attempts_more():
    alone, hedged = measured("hedging", "alone"), measured("hedging", "hedged")
    assert np.quantile(alone.latency_ns, 0.9) > 100 * MS
    assert np.quantile(hedged.latency_ns, 0.9) < 40 * MS
    assert np.quantile(hedged.latency_ns, 0.99) < 0.5 * np.quantile(alone.latency_ns, 0.99)
    assert 1.02 < hedged.attempts.mean() < 1.4
    assert set(hedged.outcome) == {Outcome.OK}


def test_only_clients_that_count_keep_requests_away_from_a_slow_pod():
    def of_the_slow_pod(variant: str) -> tuple[float, float]:
        """Which share of the later requests fails, and how many a second the pod answers."""
        requests = measured("client-balancing", variant)
        late = requests.start_ns > 15 * S
        [slow] = set(requests.endpoint[requests.service_ns > 200 * MS])
        answered = late & (requests.outcome == Outcome.OK) & (requests.endpoint == slow)
        return float(np.mean(requests.outcome[late] != Outcome.OK)), np.count_nonzero(answered) / 15

    for variant in ("cluster-ip", "pick_first", "round_robin"):
        assert of_the_slow_pod(variant)[0] > 0.15
    failed, least = of_the_slow_pod("least_request")
    assert failed == 0
    assert 300 / 16 < least < 40
    failed, fewest = of_the_slow_pod("full_scan")
    assert failed == 0
    assert fewest < least
