"""What faults do to the kernels of nodes: a lowered conntrack limit, missing IPVS modules."""

import pytest

from svcsim.engine.journal import Happening
from svcsim.results.records import Outcome
from tests.world.small import see


def test_a_full_conntrack_table_drops_new_connections_and_the_journal_says_so():
    seen = see({"at": "3s", "conntrackMax": 300, "on": "node/worker-1", "for": "8s"}, run__duration="14s",
               workloads__0__arrivals={"constant": "300/s"})
    full = seen.times(Happening.CONNTRACK_FULL, "worker-1")
    assert full
    assert 3.0 <= full[0] < 5.0
    assert not seen.times(Happening.CONNTRACK_FULL, "worker-2")
    assert seen.failed(0.0, 3.0 - 1.0) == 0
    assert seen.outcomes(5.0, 9.0)[Outcome.CONNECT_TIMEOUT] > 300
    assert seen.result.counters.packets_dropped["conntrack table full"] > 300
    assert seen.failed(11.0) == 0


def test_connections_that_are_tracked_already_go_on_while_the_table_is_full():
    seen = see({"at": "3s", "conntrackMax": 20, "on": "node/*"}, run__duration="8s", workloads__0__connections="keepalive",
               workloads__0__arrivals={"constant": "50/s"})
    assert seen.failed() == 0


def test_without_ipvs_modules_kube_proxy_uses_iptables_from_the_start_and_says_so():
    fallen = see({"at": "0s", "ipvsModules": "missing", "on": "node/*"}, mode="ipvs/rr", run__duration="3s")
    notes = [note for note in fallen.notes() if "iptables" in note]
    assert [note.partition(":")[0] for note in notes] == ["worker-1", "worker-2", "worker-3"]
    assert fallen.failed() == 0
    iptables = see(mode="iptables", run__duration="3s")
    for column in ("start_ns", "latency_ns", "endpoint", "rules"):
        assert (fallen.result.requests.column(column) == iptables.result.requests.column(column)).all(), column


def test_only_the_nodes_without_modules_fall_back():
    seen = see({"at": "0s", "ipvsModules": "missing", "on": "node/worker-2"}, mode="ipvs/rr", run__duration="3s")
    assert len([note for note in seen.notes() if "iptables" in note]) == 1
    requests = seen.result.requests
    rules_of = {node: set(requests.rules[requests.client_node == node].tolist()) for node in range(3)}
    assert rules_of[0] == rules_of[2] != rules_of[1]


@pytest.mark.parametrize(
    "stop", [{"at": "4s", "stopProxy": "node/worker-1", "for": "2s"}, {"at": "4s", "down": "node/worker-1", "for": "2s"}]
)
def test_a_kube_proxy_that_starts_after_the_modules_have_gone_falls_back_and_one_that_runs_does_not(stop):
    seen = see({"at": "2s", "ipvsModules": "missing", "on": "node/*"}, stop, mode="ipvs/rr", run__duration="60s",
               workloads__0__arrivals={"constant": "60/s"}, kubernetes__timings={"nodeBoot": "5s"})
    [note] = [note for note in seen.notes() if "iptables" in note]
    assert note.startswith("worker-1")
    started = seen.first(Happening.PROXY_STARTED, "worker-1")
    synced = seen.first(Happening.PROXY_SYNCED, "worker-1", after=started, kind="full")
    assert seen.failed(synced + 10.0) == 0
    requests = seen.between(synced + 10.0, 60.0).requests
    assert set(requests.rules[requests.client_node == 0].tolist()) != set(requests.rules[requests.client_node == 1].tolist())
    assert (requests.client_node == 0).sum() > 100


def test_a_stopped_kube_proxy_leaves_the_kernels_ipvs_in_use_until_its_iptables_rules_are_written():
    seen = see({"at": "2s", "ipvsModules": "missing", "on": "node/*"}, {"at": "3s", "stopProxy": "node/*", "for": "2s"},
               mode="ipvs/rr", run__duration="10s")
    assert seen.failed() == 0


def test_the_fault_means_nothing_to_other_modes():
    for mode in ("iptables", "userspace", "nftables"):
        seen = see({"at": "0s", "ipvsModules": "missing", "on": "node/*"}, mode=mode, run__duration="2s")
        assert not [note for note in seen.notes() if "iptables mode" in note]
