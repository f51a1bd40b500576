"""Every kind of Service, asked for by every address from everywhere: the kernel does what svcsim says."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import pytest

from svcsim.kubeproxy.settings import IPFamily
from tests.kernel.cluster import SET_UPS, Cluster, flows, set_up, whole_cluster
from tests.kernel.comparison import Bench
from tests.kernel.network import PLANS
from tests.kernel.programmed import BACKENDS

MakeBench = Callable[..., Bench]
FAMILIES = get_args(IPFamily)


def stateless(cluster: Cluster) -> list:
    """The flows to Services without affinity."""
    return [flow for name, flow in flows(cluster) if not name.startswith("sticky")]


@pytest.mark.parametrize("name", SET_UPS)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_connections_and_datagrams_end_where_the_decisions_say(
    bench: MakeBench, backend: str, family: IPFamily, name: str
) -> None:
    plan = PLANS[family]
    cluster = whole_cluster(plan)
    mode = "nftables" if backend == "nftables" else "iptables"
    asked = bench(backend, set_up(plan, mode, name), cluster.objects)
    differences = asked.differences(stateless(cluster))
    assert not differences, "\n".join(differences)
