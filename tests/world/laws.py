"""What holds of every run, whatever the scenario: nothing is lost and nothing counted twice."""

from __future__ import annotations

import numpy as np

from svcsim.engine.journal import Happening
from svcsim.results.records import PARTS, Outcome
from svcsim.results.result import Result
from svcsim.units import MS
from svcsim.world import World

LOOK_NS = 700 * MS


def keeps_whole_nanoseconds(world: World) -> None:
    """While it runs, what is due stands at ints: a float or a NumPy integer that got among them would spread."""
    clock = world.clock

    def look() -> None:
        assert {type(entry[0]) for entry in clock.environment._queue} <= {int}
        clock.after(LOOK_NS, look)

    look()


def conserved(result: Result, faults: int | None = None) -> None:
    """Requests, the parts of their time and packets balance in a result; `faults`: how many of the scenario began."""
    requests, where = result.requests, result.label
    assert len(requests) > 0, where
    for workload in set(requests.workload.tolist()):
        numbers = np.bincount(requests.sequence[requests.workload == workload])  # of each user's, in a closed loop
        assert (np.diff(numbers) <= 0).all(), where
        assert (numbers > 0).all(), where
    total = sum(requests.column(part) for part in PARTS)
    assert (total == requests.latency_ns).all(), where
    assert all((requests.column(part) >= 0).all() for part in PARTS), where
    assert set(requests.outcome.tolist()) <= {int(outcome) for outcome in Outcome}, where
    assert (requests.start_ns >= 0).all(), where
    assert (requests.start_ns < result.duration_ns).all(), where
    answered = requests.outcome == Outcome.OK
    assert (requests.endpoint[answered] >= 0).all(), where
    assert (requests.attempts >= (requests.outcome != Outcome.CLIENT_GONE)).all(), where
    counters = result.counters
    assert counters.packets_sent == counters.packets_delivered + sum(counters.packets_dropped.values()), where
    assert min(counters.packets_dropped.values(), default=0) >= 0, where
    entries = result.journal.entries
    assert [entry.at_ns for entry in entries] == sorted(entry.at_ns for entry in entries), where
    began = {entry.detail["index"]: entry.at_ns for entry in entries if entry.kind is Happening.FAULT_BEGIN}
    assert faults is None or len(began) == faults, where
    assert all(entry.at_ns > began[entry.detail["index"]] for entry in entries if entry.kind is Happening.FAULT_END), where
