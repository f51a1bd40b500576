"""Session affinity: the kernel remembers whom svcsim says that it remembers, as long and as many."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import get_args

import pytest

from svcsim.kubeproxy.iptables_table import IptablesTable
from svcsim.kubeproxy.settings import IPFamily
from svcsim.linux.address import format_address, parse_address
from svcsim.linux.packet import TCP, UDP
from tests.kernel.cluster import Cluster, affinity, settings, whole_cluster
from tests.kernel.comparison import Bench
from tests.kernel.network import PLANS
from tests.kernel.programmed import BACKENDS
from tests.kernel.traffic import Flow

MakeBench = Callable[..., Bench]
FAMILIES = get_args(IPFamily)


def mode_of(backend: str) -> str:
    return "nftables" if backend == "nftables" else "iptables"


def remembered(bench: Bench) -> dict[str, set[int]]:
    """The clients that the kernel remembers for each endpoint."""
    table, node = bench.programmed.table, bench.traffic.network.node
    found = {}
    if isinstance(table, IptablesTable):
        for name in table.recent.lists:
            with node.inside(), open(f"/proc/thread-self/net/xt_recent/{name}") as file:
                found[name] = {parse_address(line.split()[0].removeprefix("src=")) for line in file}
        return found
    for name in table.dynamic_sets:
        listed = node.run("nft", "list", "set", table.family, "kube-proxy", name)
        found[name] = set(map(parse_address, re.findall(r"([0-9a-f.:]+) (?:timeout \S+ )?expires", listed)))
    return found


def held(bench: Bench, now_ns: int) -> dict[str, set[int]]:
    """The clients that svcsim remembers for each endpoint."""
    table = bench.programmed.table
    if isinstance(table, IptablesTable):
        return {name: set(entries) for name, entries in table.recent.lists.items()}
    return {name: set(entries.live(now_ns)) for name, entries in table.dynamic_sets.items()}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_client_stays_with_its_endpoint_by_whatever_address_and_port_it_asks(
    bench: MakeBench, backend: str, family: IPFamily
) -> None:
    plan = PLANS[family]
    cluster = whole_cluster(plan)
    asked = bench(backend, settings(plan, mode_of(backend)), cluster.objects, reads_back=True)
    [(vip, port, _), (_, node_port, _)] = cluster.doors["sticky"]
    [(udp_vip, udp_port, _)] = cluster.doors["sticky-datagrams"]
    ways = {
        "client": (plan.client, (vip, port, TCP), (plan.node, node_port, TCP), (udp_vip, udp_port, UDP)),
        "pod-a": (plan.pods[0], (vip, port, TCP), (plan.second, node_port, TCP) if backend != "nftables" else (vip, port, TCP)),
        "outside": (plan.near, (plan.node, node_port, TCP), (vip, port, TCP)),
        "peer": (plan.peer_node, (udp_vip, udp_port, UDP), (vip, port, TCP)),
        "node": (plan.node, (vip, port, TCP), (plan.node, node_port, TCP), (udp_vip, udp_port, UDP)),
    }
    free = 0
    for _ in range(3):
        for origin, (source, *doors) in ways.items():
            for destination, number, protocol in doors:
                _, choices = asked.follow(Flow(origin, source, destination, number, protocol))
                free += choices > 1
    assert free == 8  # five clients, three of them of both Services, chose once each
    assert remembered(asked) == held(asked, 0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_iptables_remembers_the_last_hundred_clients_of_an_endpoint_and_nftables_all(bench: MakeBench, backend: str) -> None:
    plan = PLANS["IPv4"]
    cluster = Cluster(plan)
    cluster.add("popular", *plan.far[:2], **affinity(600))
    asked = bench(backend, settings(plan, mode_of(backend)), cluster.objects)
    [(vip, port, _)] = cluster.doors["popular"]
    clients = [format_address(parse_address("198.18.0.1") + number) for number in range(260)]
    free = []
    for _ in range(2):
        choices = [asked.follow(Flow("outside", client, vip, port), draws=4)[1] for client in clients]
        free.append(sum(each > 1 for each in choices))
    assert free[0] == 260
    assert (free[1] > 0) is (backend != "nftables")
    assert remembered(asked) == held(asked, 0)


@pytest.mark.parametrize(("backend", "family"), [*((each, "IPv4") for each in BACKENDS), ("nftables", "IPv6")])
def test_a_client_that_stays_away_for_the_time_out_is_forgotten(bench: MakeBench, backend: str, family: IPFamily) -> None:
    plan = PLANS[family]
    cluster = Cluster(plan)
    cluster.add("fleeting", *plan.far[:4], **affinity(1))
    asked = bench(backend, settings(plan, mode_of(backend)), cluster.objects)
    [(vip, port, _)] = cluster.doors["fleeting"]
    base = parse_address("198.18.0.1" if family == "IPv4" else "2001:db8:18::1")
    flows = [Flow("outside", format_address(base + number), vip, port) for number in range(24)]

    def ask() -> list[tuple[str, int]]:
        return [asked.follow(flow, time.monotonic_ns(), draws=8) for flow in flows]

    start = time.monotonic()
    first = ask()
    time.sleep(0.3)
    second = ask()
    if time.monotonic() - start > 0.9:
        pytest.skip("this machine is too busy to ask 48 clients within a second")
    assert second == [(told, 1) for told, _ in first]
    time.sleep(1.2)
    third = ask()
    assert {choices for _, choices in third} == {4}
    assert [told for told, _ in third] != [told for told, _ in first]
