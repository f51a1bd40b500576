"""What all packets share: the hosts, who has which address, the routes between hosts, and the counts of packets.

`generation` changes with whatever can break the path of an established connection: a host's power, a partition, a link. A
connection whose paths are of an older generation is looked at again before its next step.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from svcsim.datapath.host import Host, Namespace
from svcsim.engine.clock import PACKET, Clock
from svcsim.engine.hop import Hop
from svcsim.engine.journal import Journal
from svcsim.engine.streams import Stream, splitmix64
from svcsim.linux.congestion import WindowLimits
from svcsim.linux.ports import PortAllocator
from svcsim.linux.tcp import TcpTimers
from svcsim.results.records import Flag

if TYPE_CHECKING:
    from svcsim.datapath.connection import Connection
    from svcsim.network.topology import Route, Topology

_UNREACHED = int(Flag.UNREACHED)

RouteIn = Callable[[int, int, int, int], "Host | None"]
"""How packets from outside to an address get into the cluster: (client, protocol, port, key of the connection) -> node."""


@dataclass(frozen=True, slots=True)
class FabricSettings:
    """How the network answers for what is not there, and the kernels' timers."""

    cni: Literal["bridge", "routed"] = "bridge"
    segment: Literal["l2", "l3"] = "l3"
    hairpin: bool = True
    timers: TcpTimers = field(default_factory=TcpTimers)
    backlog_ns: int = 50_000_000
    resolve_clash: bool = True
    windows: WindowLimits = field(default_factory=WindowLimits)
    remembers: bool = True
    """Whether conntrack's entries of established TCP connections outlive the run, however idle (`svcsim.datapath.tracking`)."""
    datagram_migration: float = 0.0
    """Share of datagrams, written right after another one of their socket, that another CPU works on."""


@dataclass(slots=True)
class PacketCounts:
    """Packets of all flows; at the end of a run `sent` equals `delivered` plus all of `dropped`.

    A train counts as one, and the packets of it that were lost and sent again alone on top. ICMP errors are not counted.
    """

    sent: int = 0
    delivered: int = 0
    dropped: Counter[str] = field(default_factory=Counter)

    @property
    def in_flight(self) -> int:
        """Packets that have neither arrived nor been dropped."""
        return self.sent - self.delivered - sum(self.dropped.values())


class Fabric:
    """The network of one simulated world."""

    __slots__ = (
        "_endpoints", "clock", "counts", "environment", "generation", "homes", "hosts", "jitter", "journal", "loss",
        "masquerade_pools", "namespaces",
        "outside_routes", "seed", "settings", "topology",
    )

    def __init__(
        self, clock: Clock, topology: Topology, settings: FabricSettings, journal: Journal, seed: int
    ) -> None:
        self.clock = clock
        self.environment = clock.environment
        self.topology = topology
        self.settings = settings
        self.journal = journal
        self.generation = 0
        self.hosts: list[Host] = []
        self.namespaces: dict[int, Namespace] = {}
        self.homes: dict[int, Host] = {}
        self._endpoints: dict[tuple[int, int, int], int] = {}
        self.outside_routes: dict[int, RouteIn] = {}
        self.counts = PacketCounts()
        self.masquerade_pools: dict[tuple[int, int, int, int], PortAllocator] = {}
        self.seed = seed
        self.loss = Stream(seed, "network/loss")
        self.jitter = Stream(seed, "network/jitter")

    def add_host(self, host: Host) -> None:
        """Connect a host; its own addresses are reachable from now on."""
        self.hosts.append(host)
        self.add_namespace(host.namespace)

    def add_namespace(self, namespace: Namespace) -> None:
        """A pod's sandbox got its addresses."""
        for address in namespace.addresses:
            self.namespaces[address] = namespace
            self.homes[address] = namespace.host

    def remove_namespace(self, namespace: Namespace) -> None:
        """A sandbox is gone; its addresses still lead to its node, where nobody answers any more."""
        namespace.alive = False
        namespace.listeners.clear()
        for address in namespace.addresses:
            if self.namespaces.get(address) is namespace:
                del self.namespaces[address]

    def name_endpoint(self, namespace: Namespace, ports: Iterable[tuple[int, int]], endpoint: int) -> None:
        """Who is behind a pod's addresses, or behind (protocol, port) of a host's own; remembered when it is gone."""
        for address in namespace.addresses:
            for protocol, port in ports if namespace.is_host else [(0, 0)]:
                self._endpoints[address, protocol, port] = endpoint

    def endpoint_at(self, address: int, protocol: int, port: int) -> int:
        """The endpoint that has an address or had it last, by its number in the run's table; -1 if none ever did."""
        of_pod = self._endpoints.get((address, 0, 0), -1)
        return of_pod if of_pod >= 0 else self._endpoints.get((address, protocol, port), -1)

    def not_reached(self, front: Connection, back: Connection) -> None:
        """Keep with a client's connection which endpoint a proxy could not reach for it by one of its own."""
        endpoint = self.endpoint_at(back.destination, back.protocol, back.destination_port)
        if endpoint >= 0:
            front.endpoint, front.endpoint_host = endpoint, self.homes.get(back.destination)
            front.flags |= _UNREACHED

    def route(self, source: Host, target: Host) -> Route | None:
        """How packets go from host to host now; None when nothing gets there."""
        return self.topology.route(source.name, target.name)

    def entry_host(self, client: int, protocol: int, address: int, port: int, key: int) -> Host | None:
        """The host that a packet from outside reaches first, by its destination; None if no way leads there.

        `key` names its connection: packets of one connection take one way as long as there are the same ways.
        """
        routed = self.outside_routes.get(address)
        if routed is not None:
            return routed(client, protocol, port, key)
        return self.homes.get(address)

    def is_lost(self, connection: Connection, route: Route) -> bool:
        """Whether this packet is lost on its way; drawn by connection and packet."""
        connection.ordinal += 1
        return self.loss.uniform(connection.key, connection.ordinal) < route.loss

    def rough_delay_ns(self, connection: Connection, route: Route) -> int:
        """What this packet is late by on its way, exponential with the route's mean; drawn by connection and packet."""
        if not route.jitter_ns:
            return 0
        connection.ordinal += 1
        return round(-route.jitter_ns * math.log1p(-self.jitter.uniform(connection.key, connection.ordinal)))

    def masquerade_port(
        self, source: int, host: Host, connection: Connection, destination: int, destination_port: int
    ) -> int:
        """A port of one of the host's addresses that no other flow to this destination has; 0 if all are taken."""
        key = (source, destination, destination_port, connection.protocol)
        pool = self.masquerade_pools.get(key)
        if pool is None:
            offset = splitmix64(source ^ destination << 16 ^ destination_port)
            pool = self.masquerade_pools[key] = PortAllocator(offset, first=1024, last=65535)
        now = self.clock.now
        port = pool.take(now)
        if port:
            pool.give(port, now + host.conntrack.timeouts.time_wait_ns)
        return port

    def schedule(self, hop: Hop, delay_ns: int) -> None:
        """Let a hop's next step (its `callbacks`) happen after a delay, in a packet's rank."""
        self.environment.schedule(hop, PACKET, delay_ns)

    def later(self, delay_ns: int, action: Callable[[], None]) -> None:
        """Call a function after a delay, in a packet's rank: for what happens rarely."""
        self.clock.after(delay_ns, action, PACKET)

    def drop(self, cause: str, packets: int = 1) -> None:
        """Count packets that go no further."""
        self.counts.dropped[cause] += packets

    def changed(self) -> None:
        """Something happened that paths of established connections may not survive."""
        self.generation += 1
