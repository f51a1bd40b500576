"""Clusters that hypothesis draws: whatever the Services and however the node is set up, the kernel does what svcsim says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as budget
from hypothesis import strategies as st

from svcsim.kubeproxy.settings import IPFamily
from tests.kernel.cluster import GONE, LEAVING, PORTS, SET_UPS, UNREADY, Cluster, affinity, flows, set_up
from tests.kernel.comparison import Bench
from tests.kernel.network import PLANS, Plan
from tests.kernel.programmed import BACKENDS

some = st.sampled_from
POLICIES = some((None, "Cluster", "Local"))


@st.composite
def clusters(draw: st.DrawFn, plan: Plan) -> Cluster:
    """Up to four Services of any kind, which may claim one external address together."""
    cluster = Cluster(plan)
    places = (*plan.pods, *plan.far[:3], plan.node)
    conditions = some(({}, {}, {}, LEAVING, GONE, UNREADY))
    for number in range(draw(st.integers(1, 4))):
        endpoints = [(place, draw(conditions)) for place in draw(st.lists(some(places), max_size=5, unique=True))]
        kind = draw(some(("ClusterIP", "NodePort", "LoadBalancer")))
        spec: dict[str, Any] = {"internalTrafficPolicy": draw(POLICIES)}
        sticky = draw(some((False, False, True)))
        if sticky:
            spec |= affinity(600)
        if kind != "ClusterIP":
            spec["externalTrafficPolicy"] = draw(POLICIES)
        ranges = draw(st.lists(some((plan.near_block, plan.pod_block, plan.node_block)), max_size=2, unique=True))
        cluster.add(
            f"{'sticky' if sticky else 'plain'}-{number}", *endpoints, protocol=draw(some(("TCP", "TCP", "UDP"))),
            ranges=tuple(ranges), external=draw(some((False, f"{plan.external}1", f"{plan.external}2", plan.second))),
            balancer=kind == "LoadBalancer", node_port=kind == "NodePort", proxied=draw(some((False, False, True))),
            port=draw(some(PORTS)), **spec,
        )  # fmt: skip
    return cluster


@pytest.mark.parametrize("family", get_args(IPFamily))
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_kernel_does_what_svcsim_says(bench: Callable[..., Bench], backend: str, family: IPFamily) -> None:
    plan = PLANS[family]

    @budget(
        max_examples=6, deadline=None, database=None, phases=(Phase.generate,), suppress_health_check=list(HealthCheck)
    )  # shrinking would load rules for minutes
    @given(cluster=clusters(plan), name=some(tuple(SET_UPS)))
    def hold(cluster: Cluster, name: str) -> None:
        node = set_up(plan, "nftables" if backend == "nftables" else "iptables", name)
        asked = bench(backend, node, cluster.objects, reads_back=True)
        named = list(flows(cluster))
        keys = {(flow.destination, flow.port) for service, flow in named if service.startswith("sticky")}
        plain = [flow for _, flow in named if (flow.destination, flow.port) not in keys]
        differences = asked.differences(plain)
        assert not differences, "\n".join(differences)
        for flow in [flow for _, flow in named if (flow.destination, flow.port) in keys][::3]:
            for _ in range(2):
                asked.follow(flow)

    hold()
