"""Loopback addresses with `route_localnet`, which localhost node ports need: open to the node, closed to its neighbours."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from svcsim.linux.packet import TCP, UDP, Verdict
from tests.kernel.cluster import Cluster, settings
from tests.kernel.comparison import Bench
from tests.kernel.network import PLANS
from tests.kernel.traffic import SILENCE, Flow, Traffic, reached

PLAN = PLANS["IPv4"]
LOOPBACK = PLAN.loopback


@pytest.fixture
def intruder(traffic: Traffic) -> Iterator[str]:
    """A neighbour that sends packets for 127.0.0.1 to the node (CVE-2020-8558), whose own 127.0.0.0/8 leads there."""
    outside = traffic.network.others["outside"]
    outside.ip(("route del local 127.0.0.0/8 dev lo table local", "route del local 127.0.0.1 dev lo table local"))
    outside.set({"ipv4/conf/eth0/route_localnet": 1, "ipv4/conf/all/route_localnet": 1})
    yield "outside"
    outside.set({"ipv4/conf/eth0/route_localnet": 0, "ipv4/conf/all/route_localnet": 0})
    outside.ip(("route add local 127.0.0.0/8 dev lo table local", "route add local 127.0.0.1 dev lo table local"))


@pytest.mark.parametrize("backend", ["iptables-legacy", "iptables-nft"])
def test_a_neighbour_reaches_loopback_addresses_only_where_localhost_node_ports_and_their_guard_are_off(
    bench: Callable[..., Bench], intruder: str, backend: str
) -> None:
    cluster = Cluster(PLAN)
    cluster.add("web", PLAN.pods[0], node_port=True)
    flows = [Flow(intruder, PLAN.near, LOOPBACK, 81, protocol) for protocol in (TCP, UDP)]
    guarded = bench(backend, settings(PLAN, "iptables"), cluster.objects)
    for flow in flows:
        assert guarded.programmed.table.decide(flow.packet(), 0.5, 0).verdict is Verdict.DROP
        assert set(guarded.expected(flow)) == {SILENCE}
    assert not guarded.differences(flows)
    open_to_all = bench(backend, settings(PLAN, "iptables", localhost_nodeports=False), cluster.objects)
    for flow in flows:
        assert set(open_to_all.expected(flow)) == {reached(LOOPBACK, 81, PLAN.near)}
    assert not open_to_all.differences(flows)


@pytest.mark.parametrize("backend", ["iptables-legacy", "iptables-nft"])
def test_the_node_reaches_node_ports_on_localhost_masqueraded_unless_they_are_off(
    bench: Callable[..., Bench], backend: str
) -> None:
    cluster = Cluster(PLAN)
    cluster.add("web", PLAN.pods[0], node_port=True)
    flow = Flow("node", LOOPBACK, LOOPBACK, 30001)
    served = bench(backend, settings(PLAN, "iptables"), cluster.objects)
    assert set(served.expected(flow)) == {reached(PLAN.pods[0], 8080, PLAN.node)}
    assert not served.differences([flow])
    off = bench(backend, settings(PLAN, "iptables", localhost_nodeports=False), cluster.objects)
    assert set(off.expected(flow)) == {reached(LOOPBACK, 30001, LOOPBACK)}
    assert not off.differences([flow])
