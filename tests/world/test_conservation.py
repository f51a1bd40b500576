"""Nothing is lost and nothing counted twice, in any shipped scenario: requests, the parts of their time, packets."""

import numpy as np
import pytest

import svcsim.world
from svcsim.engine.journal import Happening
from svcsim.results.records import PARTS, Outcome
from tests.world.shipped import NAMES, short


@pytest.mark.parametrize("name", NAMES)
def test_each_request_ends_once_its_parts_sum_and_packets_balance(name):
    for label, scenario in short(name):
        world = svcsim.world.build(scenario, label=label)
        result = world.run()
        requests, where = result.requests, (name, label)
        assert len(requests) > 100, where
        for workload, each in zip(scenario.workloads, world.clients.workloads, strict=True):
            assert each.started == each.ended, where
            index = result.names.workload(workload.name)
            sequences = np.sort(requests.sequence[requests.workload == index])
            assert len(sequences) == each.started, where
            assert (sequences == np.arange(len(sequences))).all(), where
        total = sum(requests.column(part) for part in PARTS)
        assert (total == requests.latency_ns).all(), where
        assert all((requests.column(part) >= 0).all() for part in PARTS), where
        assert set(requests.outcome.tolist()) <= {int(outcome) for outcome in Outcome}, where
        assert (requests.start_ns >= 0).all(), where
        assert (requests.start_ns < result.duration_ns).all(), where
        counters = result.counters
        assert counters.packets_sent == counters.packets_delivered + sum(counters.packets_dropped.values()), where
        assert min(counters.packets_dropped.values(), default=0) >= 0, where
        begun = [entry for entry in result.journal.entries if entry.kind is Happening.FAULT_BEGIN]
        assert len(begun) == len(scenario.faults), where
        answered = requests.outcome == Outcome.OK
        assert (requests.endpoint[answered] >= 0).all(), where
        assert (requests.attempts >= (requests.outcome != Outcome.CLIENT_GONE)).all(), where


@pytest.mark.parametrize("name", NAMES)
def test_the_journal_is_in_order_and_faults_end_after_they_began(name):
    label, scenario = short(name)[0]
    entries = svcsim.world.build(scenario, label=label).run().journal.entries
    assert [entry.at_ns for entry in entries] == sorted(entry.at_ns for entry in entries)
    began = {entry.detail["index"]: entry.at_ns for entry in entries if entry.kind is Happening.FAULT_BEGIN}
    for entry in entries:
        if entry.kind is Happening.FAULT_END:
            assert entry.at_ns > began[entry.detail["index"]]
