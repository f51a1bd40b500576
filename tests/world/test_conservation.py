"""Nothing is lost and nothing counted twice, in any shipped scenario: requests, the parts of their time, packets. Times are ints.

Scenarios of `types` and `questions` are held to the same laws where they run whole: tests/scenarios/test_types.py and
tests/docs/test_questions.py.
"""

import numpy as np
import pytest

import svcsim.world
from tests.world.laws import conserved, keeps_whole_nanoseconds
from tests.world.shipped import NAMES, NESTED, short

RUN_ELSEWHERE = ("types/", "questions/")


def law(label, scenario):
    world = svcsim.world.build(scenario, label=label)
    keeps_whole_nanoseconds(world)
    result = world.run()
    conserved(result, faults=len(scenario.faults))
    for workload, each in zip(scenario.workloads, world.clients.workloads, strict=True):
        index = result.names.workload(workload.name)
        sequences = result.requests.sequence[result.requests.workload == index]
        assert each.started == each.ended == len(sequences), (label, workload.name)
        if workload.arrivals.closed is None:
            assert len(np.unique(sequences)) == len(sequences), (label, workload.name)
    return result


@pytest.mark.parametrize("name", NAMES)
def test_each_request_ends_once_its_parts_sum_and_packets_balance(name):
    for label, scenario in short(name):
        assert len(law(label, scenario).requests) > 100, (name, label)


@pytest.mark.parametrize("name", [name for name in NESTED if not name.startswith(RUN_ELSEWHERE)])
def test_so_it_is_in_the_scenarios_of_a_subject(name):
    for label, scenario in short(name):
        law(label, scenario)
