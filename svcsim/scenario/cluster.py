"""The machines of a scenario: nodes, the network between them, and hosts outside the cluster."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Any, Literal, Self

from pydantic import Field, WithJsonSchema, model_validator

from svcsim.linux.congestion import LARGEST_WINDOW_BYTES
from svcsim.scenario.cloud import Cloud
from svcsim.scenario.quantities import (
    Bandwidth,
    Cidrs,
    Count,
    Duration,
    Family,
    IpAddress,
    IpAddresses,
    KernelVersion,
    Labels,
    Name,
    Part,
    Port,
    PositiveCount,
    PositiveDuration,
    Share,
    Size,
    family_of,
)
from svcsim.scenario.servers import Serving
from svcsim.units import S

MAX_NODES = 5_000
DEFAULT_NODE_PREFIX = "worker"
FIRST_NODE = 10
"""The number of the first node's address in the block of nodes."""
DEFAULT_POD_CIDR: dict[Family, str] = {"IPv4": "10.244.0.0/16", "IPv6": "fd00:10:244::/56"}
DEFAULT_NODE_CIDR: dict[Family, str] = {"IPv4": "192.168.0.0/16", "IPv6": "fd00:192:168::/64"}
MAX_PODS = 110
"""Pods that fit on a node (kubelet's --max-pods)."""


class NodePool(Part):
    """One node, or with `count` several alike."""

    name: Name | None = None
    """Name of the node, or with `count` the beginning of the names; default `worker`."""
    count: Annotated[int, Field(ge=1, le=MAX_NODES)] | None = None
    cores: Annotated[int, Field(ge=1, le=1024)] | None = None
    """CPUs that process packets; default 4."""
    zone: str | None = None
    zones: tuple[str, ...] = ()
    """Zones over which the nodes of `count` are spread in turn."""
    labels: Labels = Field(default_factory=dict)
    max_pods: PositiveCount | None = None
    """Default 110."""
    address: IpAddresses | None = None
    """Its own, or one of each family; default: of `cluster.network.nodeCIDR`."""
    kernel: KernelVersion | None = None
    """Version of Linux; default 6.1. IPVS before 5.9 and before 5.16 differs."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.zone is not None and self.zones:
            raise ValueError("give either 'zone' or 'zones'")
        if self.address is not None and self.count is not None:
            raise ValueError("an address belongs to one node, not to a count of them")
        return self


class Nodes(NodePool):
    """All nodes: so many alike, or a `list` of nodes and pools, for which what stands beside it is the default."""

    list: tuple[NodePool, ...] = ()

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if self.list and self.count is not None:
            raise ValueError("give either 'list' or 'count'")
        return self

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        if isinstance(value, list):
            return {"list": value}
        if isinstance(value, int) and not isinstance(value, bool):
            return {"count": value}
        return value


class Node(Part):
    """One node, as the scenario means it."""

    name: Name
    cores: PositiveCount = 4
    zone: str | None = None
    labels: Labels = Field(default_factory=dict)
    max_pods: PositiveCount = MAX_PODS
    address: IpAddresses | None = None
    kernel: KernelVersion | None = None


def expand(nodes: Nodes) -> tuple[Node, ...]:
    """Every node by name, in order; ValueError if two have the same name or there are too many."""
    pools = nodes.list or (nodes,)
    found: list[Node] = []
    unnamed = 0
    for pool in pools:
        zones = pool.zones or ((pool.zone,) if pool.zone else ()) or nodes.zones or ((nodes.zone,) if nodes.zone else ())
        count = pool.count or 1
        if len(found) + count > MAX_NODES:
            raise ValueError(f"more than {MAX_NODES} nodes")
        for i in range(count):
            if pool.name is None:
                unnamed += 1
                name = f"{nodes.name or DEFAULT_NODE_PREFIX}-{unnamed}"
            else:
                name = pool.name if pool.count is None else f"{pool.name}-{i + 1}"
            found.append(
                Node(
                    name=name,
                    cores=pool.cores or nodes.cores or 4,
                    zone=zones[(i if pool.count is not None else len(found)) % len(zones)] if zones else None,
                    labels={**nodes.labels, **pool.labels},
                    max_pods=pool.max_pods or nodes.max_pods or MAX_PODS,
                    address=pool.address,
                    kernel=pool.kernel or nodes.kernel,
                )
            )
    names = [node.name for node in found]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"two nodes are called {twice!r}")
    return tuple(found)


class Rtt(Part):
    """Round-trip times of the network between nodes, without the work of the nodes; within one there is none."""

    same_zone_ns: Duration = 200_000
    cross_zone_ns: Duration = 1_000_000

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        return {"sameZone": value, "crossZone": value} if isinstance(value, str | int) and not isinstance(value, bool) else value


class Link(Part):
    """What differs between two ends: `node/worker-1`, `zone/a`, `outside/db` or a switch, `switch/tor`.

    A switch exists by being named; hosts that switches connect are routed by the path of least delay.
    """

    between: Annotated[tuple[str, ...], Field(min_length=2, max_length=2)]
    rtt_ns: Duration | None = None
    jitter_ns: Duration | None = None
    bandwidth_bit_per_s: Bandwidth | None = None
    queue_bytes: Size | None = None
    loss: Share | None = None


_A_NAME = {"type": "string"}


class RouteIn(Part):
    """A route to an address of nobody's, such as a Service's external IP, with the nodes that it leads to."""

    to: IpAddress
    via: Annotated[
        tuple[Name, ...], Field(min_length=1),
        WithJsonSchema({"anyOf": [_A_NAME, {"type": "array", "items": _A_NAME, "minItems": 1}]}, mode="validation"),
    ]
    """Nodes by name; of several each connection takes one (equal-cost paths, by a hash of the flow)."""

    @model_validator(mode="before")
    @classmethod
    def _one_node(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("via"), str):
            return {**value, "via": [value["via"]]}
        return value


class Tcp(Part):
    """What hosts' kernels let a TCP connection send at a time."""

    max_window_bytes: Annotated[Size, Field(ge=1)] = LARGEST_WINDOW_BYTES
    """The most that may be under way in a direction, as socket buffers limit it; default: half of tcp_rmem's greatest, 6 MiB."""
    slow_start_after_idle: bool = True
    """net.ipv4.tcp_slow_start_after_idle: whether the window of a connection that rests falls back to ten segments."""


def node_block_length(pods: IPv4Network | IPv6Network) -> int:
    """The prefix of a node's part of the pods' block, as the node IPAM controller cuts it: /24 of IPv4, /64 of IPv6, or whole."""
    return max(24 if pods.version == 4 else 64, pods.prefixlen)


class Network(Part):
    """How packets travel between nodes."""

    cni: Literal["bridge", "routed"] = "bridge"
    """Whether a node's pods hang on a bridge (a gone pod is silent until the neighbour entry fails) or are routed to."""
    segment: Literal["l2", "l3"] = "l3"
    """Whether nodes share a segment (a dead node is EHOSTUNREACH after 3 s) or are routed to (silence)."""
    pod_cidr: Cidrs = (DEFAULT_POD_CIDR["IPv4"],)
    """Of pods, a block of each family that they have; default: of the families of `kubernetes.serviceCIDR`."""
    node_cidr: Cidrs = (DEFAULT_NODE_CIDR["IPv4"],)
    """Of nodes; default: of the families that pods have."""
    rtt: Rtt = Rtt()
    jitter_ns: Duration = 0
    """Mean of what each packet is late by, exponentially distributed."""
    bandwidth_bit_per_s: Bandwidth | None = None
    """Of each node's link; default: no limit."""
    queue_bytes: Size = 2**20
    """Room of each link's queue; what does not fit is dropped."""
    loss: Share = 0.0
    tcp: Tcp = Tcp()
    hairpin_mode: Literal["hairpin-veth", "promiscuous-bridge", "none"] = "hairpin-veth"
    """The kubelet's --hairpin-mode: whether a pod reaches itself through its own Service."""
    links: tuple[Link, ...] = ()
    routes: tuple[RouteIn, ...] = ()
    """How packets from outside to further addresses, such as external IPs, get to nodes."""

    @property
    def pod_families(self) -> tuple[Family, ...]:
        """The families of pods, the primary one first."""
        return tuple(map(family_of, self.pod_cidr))

    @property
    def node_families(self) -> tuple[Family, ...]:
        """The families of nodes, the primary one first."""
        return tuple(map(family_of, self.node_cidr))


class Conntrack(Part):
    """Connection tracking of every node; time-outs not given are kube-proxy's and the kernel's."""

    max: PositiveCount | None = None
    """Entries of a node; default as kube-proxy sets it: `maxPerCore` x cores, at least `min`."""
    max_per_core: Count = 32_768
    min: Count = 131_072
    tcp_established_ns: PositiveDuration = 86_400 * S
    tcp_syn_sent_ns: PositiveDuration = 120 * S
    tcp_time_wait_ns: PositiveDuration = 120 * S
    tcp_close_ns: PositiveDuration = 10 * S
    udp_ns: PositiveDuration = 30 * S
    udp_stream_ns: PositiveDuration = 120 * S

    def limit(self, cores: int) -> int:
        """Entries that fit on a node with so many cores."""
        return self.max if self.max is not None else max(self.min, self.max_per_core * cores)


class OutsideServer(Serving):
    """A port on which a host outside answers."""

    port: Port
    protocol: Literal["TCP", "UDP"] = "TCP"


class OutsideHost(Part):
    """A host outside the cluster: a client of node ports, or a server that a Service without selector points at."""

    name: Name
    address: IpAddresses
    """Its own, or one of each family, the primary one first."""
    rtt_ns: Duration = 2_000_000
    """To every node."""
    servers: tuple[OutsideServer, ...] = ()


class Cluster(Part):
    """Nodes and network."""

    nodes: Nodes | None = None
    """Default: the Nodes among the manifests; without any, three nodes of four cores."""
    network: Network = Network()
    conntrack: Conntrack = Conntrack()
    cloud: Cloud = Cloud()
    outside: tuple[OutsideHost, ...] = ()
