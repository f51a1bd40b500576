"""Slots over time: widths, counts, quantiles equal to those of the requests in the slot."""

from __future__ import annotations

import math

import numpy as np
import pytest

from svcsim.results.selection import Selection
from svcsim.results.timeline import slot_width_ns, timeline
from svcsim.units import MS, S
from tests.results.synthetic import result


@pytest.mark.parametrize(("duration_ns", "width_ns"), [
    (1, 10 * MS), (2 * S, 10 * MS), (5 * S, 20 * MS), (12 * S, 50 * MS), (60 * S, 500 * MS), (210 * S, S), (3600 * S, 20 * S),
])
def test_a_slot_has_a_round_width(duration_ns: int, width_ns: int) -> None:
    assert slot_width_ns(duration_ns) == width_ns


def test_every_request_is_in_one_slot_and_quantiles_are_the_slots_own() -> None:
    run = result(duration_s=80, rate_per_s=100)
    slots = timeline(run.requests, run.duration_ns, slot_ns=7 * S)
    assert len(slots.starts_ns) == 12
    assert slots.succeeded.sum() + slots.failed.sum() == len(run.requests)
    for number in range(12):
        inside = Selection(run.requests.during(number * 7 * S, (number + 1) * 7 * S), run.names)
        assert slots.p99_ns[number] == inside.latency.p99
        assert slots.p50_ns[number] == inside.latency.p50
        assert slots.success[number] == pytest.approx(inside.success)


def test_a_slot_without_requests_is_nan() -> None:
    run = result(duration_s=10, rate_per_s=50, faults=())
    slots = timeline(run.requests.during(0, 5 * S), 10 * S, slot_ns=S)
    assert math.isnan(slots.success[7])
    assert math.isnan(slots.p99_ns[7])
    assert not np.isnan(slots.success[:5]).any()


def test_no_requests_at_all_give_empty_slots() -> None:
    run = result(duration_s=10, rate_per_s=50, faults=())
    slots = timeline(run.requests.during(0, 0), 10 * S, slot_ns=S)
    assert slots.succeeded.tolist() == [0] * 10
