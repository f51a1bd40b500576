"""The pure parts of a pod's life on its node."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcsim.kube.api.node import Node, Taint
from svcsim.kube.api.pod import READY, Container, Pod, Probe, Toleration
from svcsim.kube.controllers.placement import Load, candidates, choose_node, nodes_to_score, refusal, tolerates
from svcsim.kube.lifecycle import (
    PodAddresses,
    ProbeState,
    RestartBackoff,
    last_tick_ns,
    next_tick_ns,
    pre_stop_ns,
    probe_port,
)
from svcsim.kube.pod_conditions import with_readiness
from svcsim.units import MS, S


def pod(name="p", **spec):
    return Pod.model_validate({"metadata": {"name": name, "namespace": "d", "uid": name}, "spec": spec})


def node(name, zone="", pods="110", labels=None, **spec):
    return Node.model_validate(
        {"metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": zone, **(labels or {})}}, "spec": spec,
         "status": {"allocatable": {"pods": pods}}}
    )


def decisions(probe, results):
    state, seen = ProbeState(), []
    for result in results:
        state = state.observe(probe, result)
        seen.append(state.decided)
    return seen


def test_a_probe_decides_after_enough_results_of_a_kind_in_a_row():
    probe = Probe(success_threshold=2, failure_threshold=3)
    assert decisions(probe, [True, True, False, False, True, False, False, False, True, True]) == [
        None, True, True, True, True, True, True, False, False, True,
    ]


@given(st.lists(st.booleans(), max_size=40), st.integers(1, 4), st.integers(1, 4))
def test_a_decision_changes_only_with_a_full_run_of_the_other_kind(results, successes, failures):
    probe = Probe(success_threshold=successes, failure_threshold=failures)
    seen = decisions(probe, results)
    for index in range(1, len(seen)):
        if seen[index] != seen[index - 1]:
            length = successes if seen[index] else failures
            assert results[index + 1 - length : index + 1] == [seen[index]] * length


def test_restarts_wait_ever_longer_up_to_five_minutes_and_start_afresh_after_a_quiet_time():
    backoff, waits, at_ns = RestartBackoff(10 * S, 300 * S), [], 0
    for _ in range(9):
        wait_ns, backoff = backoff.after_exit(at_ns)
        waits.append(wait_ns // S)
        at_ns += wait_ns + S
    assert waits == [0, 10, 20, 40, 80, 160, 300, 300, 300]
    assert backoff.after_exit(at_ns + 601 * S)[0] == 0


@pytest.mark.parametrize(
    ("hook", "expected_ns"),
    [
        (None, 0), ({"sleep": {"seconds": 5}}, 5 * S), ({"exec": {"command": ["sleep", "10"]}}, 10 * S),
        ({"exec": {"command": ["/bin/sh", "-c", "sleep 1.5; nginx -s quit"]}}, 1500 * MS),
        ({"exec": {"command": ["sh", "-c", "sleep 2m"]}}, 120 * S),
        ({"exec": {"command": ["/bin/asleep"]}}, 100 * MS), ({"httpGet": {"port": 80}}, 100 * MS),
    ],
)
def test_a_pre_stop_hook_takes_as_long_as_its_sleep(hook, expected_ns):
    lifecycle = {"preStop": hook} if hook else None
    assert pre_stop_ns(pod(containers=[{"lifecycle": lifecycle}, {}]), 100 * MS) == expected_ns


def test_a_probes_named_port_is_the_containers_or_another_ones():
    made = pod(containers=[{"ports": [{"name": "web", "containerPort": 80}]}, {"ports": [{"name": "web", "containerPort": 81}]}])
    probe = Probe.model_validate({"httpGet": {"port": "web"}})
    assert probe_port(made, made.spec.containers[1], probe) == 81
    assert probe_port(made, Container(), probe) == 80
    assert probe_port(made, Container(), Probe.model_validate({"exec": {}})) == 0
    assert probe_port(made, Container(), Probe.model_validate({"tcpSocket": {"port": 7}})) == 7


@given(st.integers(-(10**6), 10**12), st.integers(1, 10**10), st.integers(0, 10**10))
def test_ticks_lie_a_period_apart_around_now(now, period, phase):
    before, after = last_tick_ns(now, period, phase), next_tick_ns(now, period, phase)
    assert before <= now < after == before + period
    assert (after - phase) % period == 0


def test_a_nodes_pods_have_distinct_addresses_given_out_in_turn():
    block = PodAddresses(["10.1.2.0/29", "fd00::/64"])
    block.reserve("10.1.2.3")
    given_out = [block.allocate() for _ in range(4)]
    assert [each[0] for each in given_out] == ["10.1.2.4", "10.1.2.5", "10.1.2.6", "10.1.2.2"]
    assert given_out[0][1] == "fd00::2"
    assert block.allocate() == ()
    block.release(["10.1.2.4"])
    assert block.allocate()[0] == "10.1.2.4"
    full = PodAddresses(["10.1.2.0/29"])
    full.reserve("10.1.2.6")
    assert full.allocate() == ("10.1.2.2",)


def test_a_pod_gets_an_address_of_each_family_or_none_and_the_block_without_one_is_named():
    block = PodAddresses(["fd00::/64", "10.1.2.0/29"])
    assert [len(block.allocate()) for _ in range(6)] == [2, 2, 2, 2, 2, 0]
    assert block.exhausted() == (1, "10.1.2.1-10.1.2.6")
    block.release(["10.1.2.4"])
    assert block.allocate()[1] == "10.1.2.4"


def test_a_pod_is_ready_when_its_containers_are_and_all_gates_are_open():
    gated = pod(readinessGates=[{"conditionType": "lb"}])
    closed = with_readiness(gated, gated.status, containers_ready=True, reason="", now_ns=5)
    assert (closed.condition("ContainersReady").status, closed.condition(READY).status) == ("True", "False")
    opened = closed.model_validate({"conditions": [{"type": "lb", "status": "True"}]})
    assert with_readiness(gated, opened, containers_ready=True, reason="", now_ns=6).condition(READY).status == "True"


@pytest.mark.parametrize(
    ("toleration", "expected"),
    [({"operator": "Exists"}, True), ({"key": "k", "operator": "Exists"}, True), ({"key": "k", "value": "v"}, True),
     ({"key": "k", "value": "w"}, False), ({"key": "k", "operator": "Exists", "effect": "NoExecute"}, False),
     ({"key": "other", "operator": "Exists"}, False)],
)
def test_tolerations(toleration, expected):
    assert tolerates(Toleration.model_validate(toleration), Taint(key="k", value="v", effect="NoSchedule")) is expected


def test_a_pod_keeps_off_nodes_that_are_not_for_it():
    plain = pod()
    assert refusal(plain, node("a")) == ""
    assert refusal(plain, node("a", unschedulable=True)) == "unschedulable"
    assert refusal(plain, node("a", taints=[{"key": "k", "effect": "NoSchedule"}])) == "taint k"
    assert refusal(plain, node("a", taints=[{"key": "k", "effect": "PreferNoSchedule"}])) == ""
    assert refusal(pod(nodeSelector={"disk": "ssd"}), node("a")) == "node selector"
    assert refusal(pod(nodeSelector={"disk": "ssd"}), node("a", labels={"disk": "ssd"})) == ""


@given(st.integers(1, 40), st.integers(1, 7), st.integers(1, 3))
def test_pods_of_one_owner_are_spread_evenly_over_nodes(pods, nodes, zones):
    everywhere = [node(f"n{i}", zone=f"z{i % zones}") for i in range(nodes)]
    load = Load()
    owned = pod().model_validate(
        {"metadata": {"name": "p", "ownerReferences": [{"kind": "ReplicaSet", "name": "r", "uid": "r", "controller": True}]}}
    )
    fitting = candidates(owned, everywhere)
    for _ in range(pods):
        load.add(owned, choose_node(owned, fitting, load))
    counts = [load.by_node.get(each.metadata.name, 0) for each in everywhere]
    assert sum(counts) == pods
    assert max(counts) - min(counts) <= 1


def test_a_full_node_takes_no_more():
    small = [node("a", pods="2"), node("b", pods="1")]
    load, fitting = Load(), candidates(pod(), small)
    placed = []
    for index in range(4):
        chosen = choose_node(pod(f"p{index}"), fitting, load)
        placed.append(chosen and chosen.metadata.name)
        if chosen:
            load.add(pod(f"p{index}"), chosen)
    assert sorted(placed[:3]) == ["a", "a", "b"]
    assert placed[3] is None


@pytest.mark.parametrize(("nodes", "scored"), [(3, 3), (100, 100), (500, 230), (1000, 420), (5000, 500), (10000, 500)])
def test_how_many_nodes_are_looked_at(nodes, scored):
    assert nodes_to_score(nodes) == scored
