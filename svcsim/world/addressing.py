"""Which addresses the machines of a cluster have: nodes, their pods, and hosts outside."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network

from svcsim.kube.api.node import Node as NodeObject
from svcsim.linux.address import Address, Prefix, parse_address
from svcsim.linux.ipvs.settings import NEWEST_KERNEL
from svcsim.scenario.cluster import FIRST_NODE, node_block_length
from svcsim.scenario.model import Scenario

ZONE_LABEL = "topology.kubernetes.io/zone"
DEFAULT_CORES = 4
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Machine:
    """A node as the world builds it."""

    name: str
    addresses: tuple[Address, ...]
    """One a family, the primary one first."""
    pod_cidrs: tuple[Prefix, ...]
    """One a family that pods have, in the same order."""
    cores: int
    zone: str
    labels: tuple[tuple[str, str], ...]
    max_pods: int
    kernel: tuple[int, int] = NEWEST_KERNEL

    @property
    def address(self) -> Address:
        """Its primary address."""
        return self.addresses[0]


def machines_of(scenario: Scenario) -> tuple[Machine, ...]:
    """Every node: those that the scenario declares, or the Node objects of its manifests with the addresses they have."""
    network = scenario.cluster.network
    nodes = tuple(map(ip_network, network.node_cidr))
    if scenario.nodes:
        pods = _pod_networks(network.pod_cidr, len(scenario.nodes))
        return tuple(
            Machine(
                node.name,
                _addresses(node.address or (), nodes, FIRST_NODE + i),
                tuple(Prefix.parse(str(block)) for block in pods[i]),
                node.cores,
                node.zone or "",
                tuple(sorted({**node.labels, **({ZONE_LABEL: node.zone} if node.zone else {})}.items())),
                node.max_pods,
                _kernel(node.kernel),
            )
            for i, node in enumerate(scenario.nodes)
        )
    objects = [obj for obj in scenario.objects if isinstance(obj, NodeObject)]
    pods = _pod_networks(network.pod_cidr, len(objects))
    machines = []
    for i, obj in enumerate(objects):
        machines.append(
            Machine(
                obj.metadata.name,
                _addresses(obj.internal_ips, nodes, FIRST_NODE + i),
                tuple(Prefix.parse(_of_family(obj.pod_cidrs, block.version) or str(block)) for block in pods[i]),
                _cores(obj),
                obj.zone,
                tuple(sorted(obj.metadata.labels.items())),
                110,
                _kernel(obj.status.node_info.kernel_version),
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


def _kernel(text: str | None) -> tuple[int, int]:
    """Major and minor version of `5.4` or `5.4.0-42-generic`; the newest that is known where nothing is said."""
    match = re.match(r"(\d+)\.(\d+)", text or "")
    return (int(match[1]), int(match[2])) if match else NEWEST_KERNEL


def _of_family(given: tuple[str, ...], version: int) -> str:
    """The first address or block of a family, empty if there is none."""
    return next((text for text in given if (":" in text) == (version == 6)), "")


def _addresses(given: tuple[str, ...], blocks: tuple[Network, ...], number: int) -> tuple[Address, ...]:
    """An address of each block's family: the given one, or the one with this number in the block."""
    return tuple(
        parse_address(_of_family(given, block.version) or str(block.network_address + number)) for block in blocks
    )


def _pod_networks(cidrs: tuple[str, ...], count: int) -> list[tuple[Network, ...]]:
    """A block of each family for each of `count` nodes."""
    return list(zip(*(_blocks(cidr, count) for cidr in cidrs), strict=True))


def _blocks(cidr: str, count: int) -> list[Network]:
    """A block of addresses for each node; the checks of a scenario hold that there is room."""
    whole = ip_network(cidr)
    blocks: list[Network] = []
    for block in whole.subnets(new_prefix=node_block_length(whole)):
        blocks.append(block)
        if len(blocks) == count:
            break
    return blocks
