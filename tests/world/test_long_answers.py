"""Answers and requests of many windows in a whole cluster: every mode, kind of connection and fault keeps the laws."""

import numpy as np
import pytest

import svcsim.world
from svcsim.results.records import Outcome
from svcsim.units import MS, S
from tests.world.laws import conserved, keeps_whole_nanoseconds
from tests.world.small import ALL_MODES, see, small

LONG = {"workloads__0__response": "300KiB", "workloads__0__arrivals": "50/s", "workloads__0__timeout": "3s"}
MULTIPLEXED = {"multiplexed": {"maxStreams": 10}}
FAULTS = {
    "killed": {"kill": "deployment/web[1]"},
    "hung": {"hang": "deployment/web[1]", "for": "1s"},
    "rolled out": {"rollout": "deployment/web"},
    "deleted": {"delete": "deployment/web[1]"},
    "down": {"down": "node/worker-2", "for": "2s"},
    "partitioned": {"partition": "node/worker-2", "for": "1s"},
    "lossy": {"loss": "5%", "on": "node/worker-2", "for": "2s"},
}


def run(*faults, mode="iptables", **settings):
    """A run of four seconds that keeps the laws."""
    scenario = small(*faults, mode=mode, **{"run__duration": "4s", **LONG, **settings})
    world = svcsim.world.build(scenario, label=mode)
    keeps_whole_nanoseconds(world)
    result = world.run()
    conserved(result, faults=len(faults))
    return result


@pytest.mark.parametrize("connections", ["new", "keepalive", MULTIPLEXED], ids=["new", "kept", "multiplexed"])
@pytest.mark.parametrize("mode", ALL_MODES)
def test_in_each_mode_on_each_kind_of_connection_over_links_that_are_shared(mode, connections):
    settings = {"cluster__network__bandwidth": "200Mbit/s", "cluster__network__loss": "0.1%", "workloads__0__request": "50KiB"}
    result = run(mode=mode, workloads__0__connections=connections, **settings)
    requests = result.requests
    assert (requests.outcome == Outcome.OK).mean() > 0.97
    between_nodes = requests.response_ns[requests.response_ns > 3 * MS]
    assert len(between_nodes) > 10
    assert between_nodes.min() > 300 * 1024 * 8 * S // 200_000_000


@pytest.mark.parametrize("name", FAULTS)
def test_whatever_happens_to_pods_and_nodes_while_answers_are_under_way(name):
    fault = {"at": "1s", **FAULTS[name]}
    settings = {"cluster__network__bandwidth": "200Mbit/s", "workloads__0__arrivals": "60/s"}
    for mode in ("userspace", "iptables"):
        run(fault, mode=mode, **settings)


def test_pods_that_a_rollout_replaces_finish_their_answers_first():
    seen = see(
        {"at": "2s", "rollout": "deployment/web"}, run__duration="10s", workloads__0__response="1MB",
        workloads__0__arrivals="10/s", workloads__0__timeout="5s", cluster__network__bandwidth="100Mbit/s",
        workloads__0__connections="keepalive",
    )
    assert set(seen.outcomes()) == {Outcome.OK}


def test_a_busy_link_is_shared_by_nodes_and_carries_what_it_can():
    settings = {"cluster__network__bandwidth": "100Mbit/s", "workloads__0__response": "500KiB", "workloads__0__timeout": "60s"}
    result = run(workloads__0__from="node/worker-1", workloads__0__arrivals="60/s", **settings)
    requests = result.requests
    ends = np.sort(requests.end_ns)
    near = 1 / 3
    carried = len(requests) * (1 - near) * 500 * 1024 * (1514 / 1448) * 8 / ((ends[-1] - ends[0]) / S)
    assert carried == pytest.approx(100e6, rel=0.15)


def test_a_capped_window_and_rest_are_seen_from_the_scenario():
    far = {
        "cluster__network__rtt": "20ms", "workloads__0__response": "1MB", "workloads__0__arrivals": "1/s", "run__duration": "40s",
    }

    def median_ms(**tcp):  # of a client that asks every three seconds
        text = {f"cluster__network__tcp__{key}": value for key, value in tcp.items()}
        requests = run(workloads__0__connections="keepalive", **far, **text).requests
        distant = requests.response_ns[(requests.response_ns > 5 * MS) & (requests.connect_ns == 0)]
        return float(np.median(distant)) / MS

    assert median_ms(maxWindow="64KiB") > 280
    assert median_ms() > 60
    assert median_ms(slowStartAfterIdle=False) < 40
