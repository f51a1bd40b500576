"""Hosts and network namespaces: where packets are processed and where sockets live."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

from svcsim.linux.address import LAST_IPV4
from svcsim.linux.conntrack import Conntrack
from svcsim.linux.icmp import IcmpLimiter
from svcsim.linux.neighbour import Neighbours
from svcsim.linux.packet import TCP, Decision, FirstPacketPath, Packet, Step, Verdict

if TYPE_CHECKING:
    from svcsim.datapath.connection import Connection, Request

_NO_MATCH, _REJECTED = Verdict.NO_MATCH, Verdict.REJECT


@dataclass(frozen=True, slots=True)
class Charges:
    """What packets cost on a host, in nanoseconds of its CPU, for the mode that it runs; from the calibration profile.

    `first_*` apply to a packet that opens a flow: walk, conntrack entry, NAT set-up; a rule of the Service list costs
    `service_rule_ns` (TCP and UDP differ; the list outgrows the caches at `service_rule_knee` rules, where the `beyond` slopes
    begin), one `statistic` rule `statistic_rule_*_ns`. `masquerade_packet_ns` is what each later packet of a masqueraded flow
    costs more. `cold_endpoint_ns` is what the one that was picked of many endpoints costs more, being out of the cache: of M that
    times (M - 1) / (M + 100). `client_*` and `server_*` are delays at TCP sockets, `udp_*` at UDP sockets of either end;
    `server_accept_ns` is all that a SYN takes at its two ends, `syn_send_ns` its sender's part; `fresh_udp_send_ns` is what the
    first datagram of a flow costs its sender more, `fresh_udp_reply_ns` its first answer. `accept_ns` is what a process takes
    from a connection's handshake until it reads. Copying a message takes `copy_ns_per_kib` at both its ends together, and beyond
    a unit `further_copy_ns_per_kib`.
    """

    first_ns: int
    first_miss_ns: int
    service_rule_tcp_ns: float
    service_rule_udp_ns: float
    statistic_rule_tcp_ns: float
    statistic_rule_udp_ns: float
    masquerade_ns: int
    masquerade_packet_ns: int
    nat_packet_ns: int
    plain_packet_ns: int
    forward_ns: int
    extra_unit_ns: int
    unit_bytes: int
    reject_ns: int
    client_send_ns: int
    client_receive_ns: int
    server_accept_ns: int
    server_receive_ns: int
    server_send_ns: int
    udp_send_ns: int
    udp_receive_ns: int
    fresh_udp_send_ns: int
    service_rule_knee: int = 1 << 60
    service_rule_tcp_beyond_ns: float = 0.0
    service_rule_udp_beyond_ns: float = 0.0
    cold_endpoint_ns: float = 0.0
    syn_send_ns: int = 0
    accept_ns: int = 0
    fresh_udp_reply_ns: int = 0
    copy_ns_per_kib: float = 0.0
    further_copy_ns_per_kib: float = 0.0

    def copied_ns(self, size_bytes: int) -> int:
        """What copying so much in and out of the kernel takes at both ends."""
        first_bytes = min(size_bytes, self.unit_bytes)
        further_ns = (size_bytes - first_bytes) * self.further_copy_ns_per_kib
        return round((first_bytes * self.copy_ns_per_kib + further_ns) / 1024)

    def cold_ns(self, endpoints: int) -> float:
        """What the one that was picked of so many endpoints costs more."""
        return self.cold_endpoint_ns * (endpoints - 1) / (endpoints + 100) if endpoints > 1 else 0.0

    def first_packet_ns(self, decision: Decision, protocol: int) -> int:
        """CPU time of a flow's first packet on this host, rounded once."""
        if protocol == TCP:
            rule_ns, statistic_ns = self.service_rule_tcp_ns, self.statistic_rule_tcp_ns
        else:
            rule_ns, statistic_ns = self.service_rule_udp_ns, self.statistic_rule_udp_ns
        verdict = decision.verdict
        if verdict is _NO_MATCH:
            base_ns = self.first_miss_ns
        elif verdict is _REJECTED:
            base_ns = self.first_miss_ns + self.reject_ns
        else:
            base_ns = self.first_ns
        if decision.masquerade:
            base_ns += self.masquerade_ns
        rules = decision.service_rules
        if rules > self.service_rule_knee:
            beyond_ns = self.service_rule_tcp_beyond_ns if protocol == TCP else self.service_rule_udp_beyond_ns
            base_ns += round((rules - self.service_rule_knee) * (beyond_ns - rule_ns))
        cost_ns = base_ns + rules * rule_ns + decision.statistic_rules * statistic_ns
        if decision.endpoints:
            cost_ns += self.cold_ns(decision.endpoints)
        return round(cost_ns)


class NoRules:
    """The packet path of a host without kube-proxy: nothing matches."""

    __slots__ = ()

    def decide(self, packet: Packet, uniform: float, now_ns: int) -> Decision:
        """Route as it is."""
        return Decision(Verdict.NO_MATCH, packet.destination, packet.destination_port)

    def walk(self, packet: Packet, uniform: float, now_ns: int) -> tuple[Decision, list[Step]]:
        """The same, after no rule at all."""
        return self.decide(packet, uniform, now_ns), []


class SynAnswer(IntEnum):
    """What a listener does with a SYN."""

    ACCEPT = 0
    REFUSE = 1  # RST
    IGNORE = 2  # the backlog is full: nothing is answered


class Listener(Protocol):
    """A process behind a port, as the network sees it; `endpoint` is its index in the run's table of endpoints."""

    endpoint: int

    def syn(self, connection: Connection, now_ns: int) -> SynAnswer:
        """A SYN arrived."""

    def arrive(self, request: Request, now_ns: int) -> None:
        """A request has been received whole."""

    def connected(self, connection: Connection) -> None:
        """The handshake's SYN was answered: the connection is the listener's from now on."""

    def disconnected(self, connection: Connection) -> None:
        """The client closed the connection, or gave it up."""


class Host:
    """A machine: a Kubernetes node, or one outside the cluster.

    `queues` holds, for each softirq queue, the instant at which it will be free; a flow's hash picks the queue. A host
    outside the cluster costs nothing and tracks nothing. `address` is the primary one; `further` is that of the other family, 0
    if it has none.
    """

    __slots__ = (
        "address", "charges", "conntrack", "icmp", "index", "is_node", "name", "namespace", "neighbours", "path", "proxy_ns",
        "queues", "up",
    )

    def __init__(
        self, name: str, index: int, address: int, charges: Charges, cores: int, conntrack: Conntrack, icmp: IcmpLimiter,
        neighbours: Neighbours, *, is_node: bool, further: int = 0,
    ) -> None:
        self.name = name
        self.index = index
        self.address = address
        self.charges = charges
        self.queues = [0] * cores
        self.conntrack = conntrack
        self.icmp = icmp
        self.neighbours = neighbours
        self.path: FirstPacketPath | NoRules = NoRules()
        self.is_node = is_node
        self.up = True
        self.proxy_ns = 0
        self.namespace = Namespace(name, address, self, index=index, is_host=True, further=further)


class Namespace:
    """A network namespace with an address, or one of each family: a pod's sandbox, or a host's own.

    `address` is the primary one, `ipv4` and `ipv6` are those by family, 0 where it has none. `listeners` maps (protocol, port) to
    the process there. A namespace that is gone stays in nobody's hands: connections that still know it find `alive` false.
    """

    __slots__ = ("address", "alive", "hairpin", "host", "index", "ipv4", "ipv6", "is_host", "listeners", "name")

    def __init__(
        self, name: str, address: int, host: Host, *, index: int, is_host: bool = False, hairpin: bool = True, further: int = 0
    ) -> None:
        self.name = name
        self.address = address
        self.ipv4, self.ipv6 = (further, address) if address > LAST_IPV4 else (address, further)
        self.host = host
        self.index = index
        self.is_host = is_host
        self.hairpin = hairpin
        self.alive = True
        self.listeners: dict[tuple[int, int], Listener] = {}

    @property
    def addresses(self) -> tuple[int, ...]:
        """All its addresses, the primary one first."""
        further = self.ipv4 if self.address == self.ipv6 else self.ipv6
        return (self.address, further) if further else (self.address,)

    def towards(self, address: int) -> int:
        """Its own address of another's family, from which it sends there; 0 if it has none."""
        return self.ipv6 if address > LAST_IPV4 else self.ipv4
