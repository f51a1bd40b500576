"""Real connections through the rendered rules meet the servers and refusals that svcsim decides on, under the same addresses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from svcsim.linux.address import format_address, parse_address
from svcsim.linux.netfilter import text as iptables_text
from svcsim.linux.packet import TCP, FirstPacketPath, Hook, Packet, Verdict
from tests.kernel.cluster import BALANCER, EXTERNAL_IP, VIPS, iptables_table, nftables_table
from tests.kernel.namespaces import GATEWAY, NODE, OUTSIDE, PODS, SERVER_PORT, Network

DRAWS = 60
TRIES = 40
"""An endpoint of three is missed by all of these once in ten million runs."""


@dataclass(frozen=True)
class Flow:
    """Where connections start, and where to."""

    origin: str
    source: str
    address: str
    port: int = 80


def flows() -> list[Flow]:
    pod, hairpin, node = ("client", PODS["client"]), ("pod-a", PODS["pod-a"]), ("node", NODE)
    near, barred = ("outside", OUTSIDE[0]), ("outside", OUTSIDE[1])
    everyone = (pod, hairpin, node, near)
    found = [Flow(*who, VIPS[name]) for who in everyone for name in ("web", "empty", "near", "far")]
    found += [Flow(*who, NODE, port) for who in (pod, node, near) for port in (30001, 30002, 30003, 30004)]
    found += [Flow(*who, EXTERNAL_IP) for who in (pod, near)]
    found += [Flow(*who, BALANCER) for who in (near, barred, pod)]
    found += [Flow(*pod, PODS["pod-b"], SERVER_PORT), Flow(*pod, VIPS["lb"])]
    return found


def expected(path: FirstPacketPath, flow: Flow) -> set[str]:
    """What a connection may see, over all random choices: `server client` as the server sees it, `refused`, `silence`."""
    hook = Hook.OUTPUT if flow.origin == "node" else Hook.PREROUTING
    packet = Packet(TCP, parse_address(flow.source), 40000, parse_address(flow.address), flow.port, hook)
    seen = set()
    for draw in range(DRAWS):
        decision = path.decide(packet, (draw + 0.5) / DRAWS, 0)
        if decision.verdict in (Verdict.DNAT, Verdict.NO_MATCH):
            server = format_address(decision.destination)
            masqueraded = GATEWAY if server in PODS.values() else NODE
            seen.add(f"{server} {masqueraded if decision.masquerade else flow.source}")
        else:
            seen.add("refused" if decision.verdict is Verdict.REJECT else "silence")
    return seen


def observed(network: Network, flow: Flow, tries: int) -> set[str]:
    """What connections do see."""
    origin = network.node if flow.origin == "node" else network.others[flow.origin]
    return set(origin.connect([("" if flow.origin == "node" else flow.source, flow.address, flow.port)] * tries))


@pytest.fixture(scope="module", params=["nftables", "iptables-legacy", "iptables-nft"])
def path(request: pytest.FixtureRequest, network: Network) -> Iterator[FirstPacketPath]:
    """The decisions of a mode whose rules stand in the node's kernel meanwhile."""
    if request.param == "nftables":
        table = nftables_table()
        network.node.run("nft", "-f", "-", given=table.text())
        yield table
        network.node.run("nft", "delete", "table", "ip", "kube-proxy")
        return
    rules = iptables_table()
    network.node.run(f"{request.param}-restore", given=iptables_text.render(rules.ruleset()))
    yield rules
    for name in rules.ruleset():
        network.node.run(request.param, "-t", name, "-F")
        network.node.run(request.param, "-t", name, "-X")


def test_connections_end_where_the_decisions_say(network: Network, path: FirstPacketPath) -> None:
    differences = []
    for flow in flows():
        wanted = expected(path, flow)
        tries = TRIES if len(wanted) > 1 else 1 if wanted == {"silence"} else 3
        if (seen := observed(network, flow, tries)) != wanted:
            differences.append(f"{flow}: the kernel {sorted(seen)}, svcsim {sorted(wanted)}")
    assert not differences, "\n".join(differences)


def test_a_client_with_affinity_stays_with_its_endpoint(network: Network, path: FirstPacketPath) -> None:
    flow = Flow("client", PODS["client"], VIPS["sticky"])
    assert len(expected(path, flow)) == 1
    assert len(observed(network, flow, TRIES)) == 1
