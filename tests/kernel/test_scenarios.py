"""Every kind of Service, asked for by every address from everywhere: the kernel does what svcsim says."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from svcsim.kubeproxy.settings import IPFamily
from tests.kernel.cluster import SET_UPS, flows, set_up, whole_cluster
from tests.kernel.comparison import Bench
from tests.kernel.network import PLANS

MakeBench = Callable[..., Bench]
CASES = [
    *(("iptables-legacy", "IPv4", name) for name in SET_UPS),
    ("iptables-nft", "IPv4", "as usual"),
    *(("nftables", "IPv4", name) for name in SET_UPS if "liberal" not in name),
    ("iptables-legacy", "IPv6", "as usual"),
    ("iptables-legacy", "IPv6", "node ports on loopback alone"),
    ("iptables-nft", "IPv6", "as usual"),
    ("nftables", "IPv6", "as usual"),
    ("nftables", "IPv6", "masqueradeAll"),
]


@pytest.mark.parametrize(("backend", "family", "name"), CASES)
def test_connections_and_datagrams_end_where_the_decisions_say(
    bench: MakeBench, backend: str, family: IPFamily, name: str
) -> None:
    plan = PLANS[family]
    cluster = whole_cluster(plan)
    mode = "nftables" if backend == "nftables" else "iptables"
    asked = bench(backend, set_up(plan, mode, name), cluster.objects)
    differences = asked.differences([flow for name, flow in flows(cluster) if not name.startswith("sticky")])
    assert not differences, "\n".join(differences)
