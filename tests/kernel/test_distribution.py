"""Over thousands of connections the kernel spreads them as svcsim's probabilities say, each choice independent of the last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import pytest

from svcsim.kubeproxy.settings import IPFamily
from svcsim.linux.packet import TCP, UDP
from tests.kernel.cluster import Cluster, settings
from tests.kernel.comparison import SIGNIFICANCE, Bench, chance
from tests.kernel.network import PLANS, Plan
from tests.kernel.programmed import BACKENDS
from tests.kernel.traffic import Flow

CONNECTIONS = 2500


def cluster_of(plan: Plan) -> Cluster:
    cluster = Cluster(plan)
    cluster.add("two", *plan.far[:2], node_port=True)
    cluster.add("three", *plan.far[:2], plan.node, protocol="UDP")
    cluster.add("five", *plan.pods, *plan.far[:2], node_port=True, externalTrafficPolicy="Local")
    cluster.add("thirteen", *plan.pods, *plan.far, protocol="UDP")
    return cluster


def asked_for(cluster: Cluster) -> list[Flow]:
    """By cluster IP from a pod, from one of the endpoints, and by node port from outside."""
    plan, doors = cluster.plan, cluster.doors
    return [
        Flow("client", plan.client, *doors["two"][0][:2], TCP),
        Flow("outside", plan.near, plan.node, doors["five"][1][1], TCP),
        Flow("pod-a", plan.pods[0], *doors["five"][0][:2], TCP),
        Flow("node", plan.node, *doors["three"][0][:2], UDP),
        Flow("client", plan.client, *doors["thirteen"][0][:2], UDP),
    ]


@pytest.mark.parametrize(("backend", "family"), [*((each, "IPv4") for each in BACKENDS), ("nftables", "IPv6")])
def test_choices_have_the_probabilities_of_the_rules(bench: Callable[..., Bench], backend: str, family: IPFamily) -> None:
    cluster = cluster_of(PLANS[family])
    asked = bench(backend, settings(cluster.plan, "nftables" if backend == "nftables" else "iptables"), cluster.objects)
    for flow in asked_for(cluster):
        probabilities = asked.probabilities(flow)
        count = len(probabilities)
        assert count in (2, 3, 5, 13)
        assert list(probabilities.values()) == pytest.approx([1 / count] * count, abs=1e-3)
        outcomes = asked.traffic.send([flow] * CONNECTIONS)
        counts = Counter(outcomes)
        assert chance(counts, probabilities) > SIGNIFICANCE, f"{flow}: {counts}, expected {probabilities}"
        again = sum(p * p for p in probabilities.values())
        pairs = Counter("again" if one == other else "another" for one, other in pairwise(outcomes))
        assert chance(pairs, {"again": again, "another": 1 - again}) > SIGNIFICANCE, f"{flow}: not independent, {pairs}"


def test_a_distribution_that_is_off_by_a_twentieth_is_told_from_the_right_one() -> None:
    probabilities = {"a": 0.5, "b": 0.5}
    assert chance({"a": 1250, "b": 1250}, probabilities) > 0.9
    assert chance({"a": 1388, "b": 1112}, probabilities) < SIGNIFICANCE
    assert chance({"a": 1250, "b": 1249, "c": 1}, probabilities) == 0
    assert chance({"again": 0, "another": 2499}, {"again": 0.5, "another": 0.5}) < SIGNIFICANCE
