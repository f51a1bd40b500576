"""Every kind of Service carries traffic in a scenario of its own, and what it is documented to do is what comes out."""

from __future__ import annotations

from pathlib import Path

import pytest

import svcsim
from svcsim.engine.journal import Happening
from svcsim.kube.api.service import Service
from svcsim.results.comparison import Comparison
from svcsim.results.expectations import evaluate
from svcsim.results.records import Outcome
from svcsim.scenario.expansion import variants
from svcsim.units import S
from svcsim.world import build
from tests.scenarios import pages
from tests.world.laws import conserved

FOLDER = Path(__file__).parents[2] / "scenarios" / "types"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
KINDS = {
    "clusterip", "nodeport-cluster", "nodeport-local", "loadbalancer-vip", "loadbalancer-proxy", "loadbalancer-local",
    "externalname", "external-ips", "headless", "headless-manual", "no-selector", "session-affinity", "internal-local", "hairpin",
    "ingress",
}


def outcome(name: str) -> Comparison:
    """What a scenario leaves in all its variants."""
    return pages.outcome(f"scenarios/types/{name}.yaml")


def test_there_is_a_scenario_for_each_kind():
    assert set(NAMES) >= KINDS


@pytest.mark.parametrize("name", NAMES)
def test_what_is_documented_of_a_kind_is_what_its_scenario_shows(name):
    scenario = svcsim.load(FOLDER / f"{name}.yaml")
    assert len(scenario.expect) >= 2
    broken = [verdict.text for verdict in evaluate(scenario.expectations(), outcome(name)) if not verdict.holds]
    assert broken == []
    for result in outcome(name).results:
        conserved(result)


@pytest.mark.parametrize("name", NAMES)
def test_each_says_first_what_it_asks(name):
    first = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# ")
    assert first.endswith("?")


def test_each_age_of_kubernetes_treats_the_same_traffic_and_the_same_crash_as_it_did():
    path = FOLDER.parent / "history" / "versions.yaml"
    comparison = pages.outcome("scenarios/history/versions.yaml")
    assert [verdict.text for verdict in evaluate(svcsim.load(path).expectations(), comparison) if not verdict.holds] == []
    cpu = {variant.label: variant.proxy_cpu_ns for variant in comparison}
    assert min(cpu, key=cpu.__getitem__) == "1.29 (nftables)"
    assert max(cpu, key=cpu.__getitem__) == "1.0 (userspace)"
    latencies = {variant.label: variant.latency.p50 for variant in comparison}
    assert max(latencies, key=latencies.__getitem__) == "1.0 (userspace)"


def test_two_pods_and_one_under_local_get_a_quarter_a_quarter_and_half():
    [variant] = outcome("loadbalancer-local")
    answers = variant.measured.answered_by()
    total = sum(answers.values())
    shares = {name.removeprefix("default/"): count / total for name, count in answers.items()}
    assert shares == pytest.approx({"web-a": 0.25, "web-b": 0.25, "web-c": 0.5}, abs=0.03)


def test_a_drop_under_local_is_silent_and_costs_the_whole_time_out():
    for variant in outcome("nodeport-local"):
        lost = variant.measured.of_workload("no-pod-here")
        assert set(lost.outcomes) == {Outcome.CONNECT_TIMEOUT}
        assert int(lost.requests.latency_ns.min()) == 1 * S


def test_a_balancer_has_its_address_when_the_provider_is_done_and_events_tell_of_it():
    world = build(variants(svcsim.load(FOLDER / "loadbalancer-vip.yaml"))[0].scenario)
    result = world.run()
    [made] = [entry.at_ns for entry in result.journal.entries if entry.kind is Happening.LOAD_BALANCER]
    assert 4.0 * S < made < 4.1 * S
    told = [(event.reason, round(event.first_ns / S)) for event in world.store.events.entries if event.involved.kind == "Service"]
    assert told == [("EnsuringLoadBalancer", 1), ("EnsuredLoadBalancer", 4)]


def test_a_provider_that_needs_node_ports_says_so_and_leaves_the_service_pending():
    scenario = svcsim.load(FOLDER / "loadbalancer-without-nodeports.yaml", {"run.duration": "60s"})
    [proxy] = [variant for variant in variants(scenario) if "Proxy" in variant.label]
    world = build(proxy.scenario)
    world.run()
    reasons = [event.reason for event in world.store.events.entries if event.involved.kind == "Service"]
    assert reasons == ["EnsuringLoadBalancer", "SyncLoadBalancerFailed"]
    assert world.store.require(Service, "default/web").status.load_balancer.ingress == ()



def test_a_second_try_hides_a_crash_and_a_quick_one_the_death_of_a_node():
    path = FOLDER.parent / "ingress-failover.yaml"
    comparison = pages.outcome("scenarios/ingress-failover.yaml")
    assert [verdict.text for verdict in evaluate(svcsim.load(path).expectations(), comparison) if not verdict.holds] == []
    outcomes = {
        variant.label: [variant.measured.of_workload(name).outcomes for name in ("through-service", "through-ingress")]
        for variant in comparison
    }
    assert len({tuple(sorted(straight.items())) for straight, _ in outcomes.values()}) == 1
    assert {Outcome.BAD_GATEWAY, Outcome.GATEWAY_TIMEOUT} <= set(outcomes["one-try"][1])
    assert Outcome.BAD_GATEWAY not in outcomes["nginx"][1]
    assert outcomes["nginx"][1][Outcome.GATEWAY_TIMEOUT] < 0.1 * outcomes["one-try"][1][Outcome.GATEWAY_TIMEOUT]
    assert set(outcomes["quick"][1]) == {Outcome.OK}
