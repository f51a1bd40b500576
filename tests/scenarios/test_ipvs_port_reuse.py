"""scenarios/ipvs-port-reuse.yaml: a second for each connection on an old kernel, none on a new one, and what the remedy cost."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

import svcsim
from svcsim.results.records import Outcome
from svcsim.results.result import Result
from svcsim.units import S

FILE = Path(__file__).parents[2] / "scenarios" / "ipvs-port-reuse.yaml"
ROUND_S = 28_232 / 400
"""When the client has used each of its ports once."""


@cache
def seen(variant: str) -> Result:
    comparison = svcsim.run(svcsim.load(FILE, {"run.duration": "125s"}), only=[variant])
    [found] = comparison
    return found.measured


def connect_s(result: Result, start_s: float, end_s: float) -> np.ndarray:
    requests = result.requests
    chosen = (requests.start_ns >= start_s * S) & (requests.start_ns < end_s * S) & (requests.outcome == Outcome.OK)
    return requests.connect_ns[chosen] / S


def test_before_5_9_each_connection_takes_a_second_once_the_ports_come_round():
    """As published (kubernetes pull request 71114): the least 0, the median 999 ms, the time of one SYN sent again."""
    result = seen("v1.12/linux-4.15")
    before, after = connect_s(result, 5, ROUND_S - 1), connect_s(result, ROUND_S + 1, 100)
    assert before.max() < 0.01
    assert after.min() >= 1.0
    assert np.median(after) == pytest.approx(1.0, abs=0.005)
    share = connect_s(result, 5, 125) > 0.9
    assert share.mean() == pytest.approx((125 - ROUND_S) / 120, abs=0.01)


def test_mode_0_takes_the_delay_away_and_keeps_a_third_of_the_ports_with_the_pod_that_went():
    """As kubernetes issue 81775 tells: each SYN renews the entry of a real server of weight 0."""
    result = seen("v1.30/linux-4.15")
    assert connect_s(result, 5, 125).max() < 0.1
    requests = result.requests
    after = requests.outcome[(requests.start_ns > 101 * S) & (requests.start_ns < 119 * S)]
    assert (after == Outcome.CONNECT_TIMEOUT).mean() == pytest.approx(1 / 3, abs=0.01)


def test_since_5_9_there_is_neither():
    result = seen("v1.12/linux-6.1")
    assert connect_s(result, 5, 125).max() < 0.1
    requests = result.requests
    assert (requests.outcome[requests.start_ns > 101 * S] == Outcome.OK).all()
