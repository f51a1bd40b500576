"""Which addresses the machines of a cluster have: nodes, their pods, and hosts outside."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network

from svcsim.errors import UsageError
from svcsim.kube.api.node import Node as NodeObject
from svcsim.linux.address import Address, Prefix, parse_address
from svcsim.scenario.model import Scenario

ZONE_LABEL = "topology.kubernetes.io/zone"
DEFAULT_CORES = 4


@dataclass(frozen=True, slots=True)
class Machine:
    """A node as the world builds it."""

    name: str
    address: Address
    pod_cidr: Prefix
    cores: int
    zone: str
    labels: tuple[tuple[str, str], ...]
    max_pods: int


def machines_of(scenario: Scenario) -> tuple[Machine, ...]:
    """Every node: those that the scenario declares, or the Node objects of its manifests with the addresses they have."""
    network = scenario.cluster.network
    nodes = ip_network(network.node_cidr)
    if scenario.nodes:
        pods = _pod_networks(network.pod_cidr, len(scenario.nodes))
        return tuple(
            Machine(
                node.name,
                parse_address(node.address) if node.address else _host(nodes, 10 + i),
                Prefix.parse(str(pods[i])),
                node.cores,
                node.zone or "",
                tuple(sorted({**node.labels, **({ZONE_LABEL: node.zone} if node.zone else {})}.items())),
                node.max_pods,
            )
            for i, node in enumerate(scenario.nodes)
        )
    objects = [obj for obj in scenario.objects if isinstance(obj, NodeObject)]
    pods = _pod_networks(network.pod_cidr, len(objects))
    machines = []
    for i, obj in enumerate(objects):
        internal = obj.internal_ips
        cidrs = obj.pod_cidrs
        machines.append(
            Machine(
                obj.metadata.name,
                parse_address(internal[0]) if internal else _host(nodes, 10 + i),
                Prefix.parse(cidrs[0]) if cidrs else Prefix.parse(str(pods[i])),
                _cores(obj),
                obj.zone,
                tuple(sorted(obj.metadata.labels.items())),
                110,
            )
        )
    return tuple(machines)


def _cores(node: NodeObject) -> int:
    """CPUs of a node from its capacity (`4`, `3920m`), 4 where it says nothing."""
    text = str(node.status.capacity.get("cpu", node.status.allocatable.get("cpu", "")))
    if not text:
        return DEFAULT_CORES
    millis = int(text[:-1]) if text.endswith("m") else round(float(text) * 1000)
    return max(1, millis // 1000)


def _host(network: IPv4Network | IPv6Network, number: int) -> Address:
    return parse_address(str(network.network_address + number))


def _pod_networks(cidr: str, count: int) -> list[IPv4Network | IPv6Network]:
    """A block of addresses a node, as the node IPAM controller hands them out: /24 of IPv4, /64 of IPv6, smaller if need be."""
    whole = ip_network(cidr)
    wanted = 24 if whole.version == 4 else 64
    length = max(wanted, whole.prefixlen)
    if 2 ** (length - whole.prefixlen) < count:
        raise UsageError(
            f"cluster.network.podCIDR {cidr} has room for {2 ** (length - whole.prefixlen)} nodes, not for {count}: "
            f"take a larger block, such as 10.0.0.0/8"
        )
    blocks: list[IPv4Network | IPv6Network] = []
    for block in whole.subnets(new_prefix=length):
        blocks.append(block)
        if len(blocks) == count:
            break
    return blocks
