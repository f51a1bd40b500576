"""Nodes that are cordoned and drained, zones that go down, readiness gates, and the scenarios shipped for them."""

import json
from pathlib import Path

import pytest

import svcsim
from svcsim.engine.journal import Happening
from svcsim.kube.api.pod import Pod
from svcsim.sweep.runs import run_all
from tests.world.small import SMALL, Seen, see, small

SCENARIOS = Path(__file__).parents[2] / "scenarios"
BUDGET = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web"},
          "spec": {"selector": {"matchLabels": {"app": "web"}}}}


def with_manifest(manifest):
    """The small cluster's text with a manifest more."""
    return SMALL.replace("workloads:\n", f"  - {json.dumps(manifest)}\nworkloads:\n", 1)


def scheduled(seen, after_s):
    return [entry.detail["node"] for entry in seen.result.journal.entries
            if entry.kind is Happening.POD_SCHEDULED and entry.at_ns > after_s * 1e9]


def notes(seen):
    return [entry.subject for entry in seen.result.journal.entries if entry.kind is Happening.NOTE]


def test_a_cordoned_node_keeps_its_pods_and_gets_no_new_ones():
    seen = see({"at": "2s", "cordon": "node/worker-2", "for": "10s"}, {"at": "4s", "scale": "deployment/web", "replicas": 6},
               {"at": "14s", "scale": "deployment/web", "replicas": 9}, run__duration="24s")
    assert seen.failed() == 0
    assert "worker-2" not in scheduled(seen, 2)[:3]
    assert "worker-2" in scheduled(seen, 13)
    assert len(seen.answered(0.0, 2.0)) == 3


def test_a_drained_node_is_empty_and_says_so():
    seen = see({"at": "2s", "drain": "node/worker-2"}, run__duration="20s")
    assert [entry.subject for entry in seen.result.journal.entries if entry.kind is Happening.POD_TERMINATING] == list(
        seen.pods_of_fault())
    assert len(seen.pods_of_fault()) == 2  # one of web, one of client
    assert set(scheduled(seen, 2)) <= {"worker-1", "worker-3"}
    assert notes(seen) == ["worker-2: drained"]


def test_a_daemon_pod_stays():
    daemon = {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "agent"}, "spec": {
        "selector": {"matchLabels": {"app": "agent"}},
        "template": {"metadata": {"labels": {"app": "agent"}}, "spec": {"containers": [{"name": "a"}]}}}}
    world = svcsim.world.build(small({"at": "2s", "drain": "node/worker-2"}, text=with_manifest(daemon), run__duration="20s"))
    world.advance(19_000_000_000)
    left = [pod.metadata.labels["app"] for pod in world.store.each(Pod) if pod.spec.node_name == "worker-2"]
    assert left == ["agent"]


def test_a_budget_that_allows_nothing_keeps_the_pod_and_the_drain_asks_every_5_s():
    seen = see({"at": "2s", "drain": "node/worker-2", "for": "20s"}, {"at": "14s", "scale": "deployment/web", "replicas": 4},
               text=with_manifest({**BUDGET, "spec": {**BUDGET["spec"], "minAvailable": 3}}), run__duration="40s")
    evicted = [entry.at_ns / 1e9 for entry in seen.result.journal.entries
               if entry.kind is Happening.POD_TERMINATING and "/web-" in entry.subject]
    assert evicted == [pytest.approx(17.0, abs=0.01)]
    assert "would violate the pod's disruption budget" in notes(seen)[0]
    assert notes(seen)[-1] == "worker-2: drained"


def test_a_drain_gives_up_where_the_api_server_is_away():
    seen = see({"at": "2s", "drain": "node/worker-2"}, {"at": "4s", "apiServer": "down"},
               text=with_manifest({**BUDGET, "spec": {**BUDGET["spec"], "maxUnavailable": 0}}), run__duration="20s")
    assert notes(seen)[-1] == "worker-2: drain gives up: the API server does not answer"


def test_a_closed_readiness_gate_takes_a_pod_out_of_its_service():
    gates = {"manifests[deployment/web].spec.template.spec.readinessGates": [{"conditionType": "example.com/in"}]}
    seen = see({"at": "2s", "condition": "deployment/web[1]", "type": "example.com/in", "status": "False"},
               {"at": "8s", "condition": "deployment/web[1]", "type": "example.com/in", "status": True},
               run__duration="14s", **gates)
    assert len(seen.answered(0.0, 2.0)) == 3
    assert len(seen.answered(3.5, 8.0)) == 2
    assert len(seen.answered(9.5)) == 3
    assert seen.failed() == 0


def outcome(name):
    comparison = run_all(svcsim.scenario.load(SCENARIOS / f"{name}.yaml"), processes=1)
    return {result.label: result for result in comparison.results}


def test_a_drain_within_its_budget_costs_nothing_and_without_one_it_does():
    found = outcome("drain-with-budget")
    careful, at_once = Seen(found["one-at-a-time"]), Seen(found["no-limit"])
    assert careful.failed() == 0
    assert at_once.failed() > 100
    assert any("not evicted yet" in note for note in notes(careful))
    assert [note for note in notes(at_once) if "not evicted" in note] == []


def test_a_dead_zone_is_asked_for_55_s_and_not_at_all_by_those_who_prefer_their_own():
    found = outcome("zone-down")
    anywhere, own = Seen(found["anywhere"]), Seen(found["same-zone"])
    assert anywhere.failed(21.0, 70.0) > 500
    assert anywhere.failed(77.0) == 0
    assert own.failed(21.0) == 0
