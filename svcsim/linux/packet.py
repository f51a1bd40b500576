"""A packet as the kernel's decisions see it, and what a decision says.

A node decides the first packet of a connection by what kube-proxy programmed there (`FirstPacketPath`); later packets follow
conntrack. `walk` examines rule after rule and tells the way; `decide` answers the same from a compiled table. Both agree in
verdict, rewrite, rules examined and in the state they leave behind.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple, Protocol

TCP = 6
UDP = 17
SCTP = 132
PROTOCOL_NUMBER = {"TCP": TCP, "UDP": UDP, "SCTP": SCTP}
PROTOCOL_NAME = {TCP: "TCP", UDP: "UDP", SCTP: "SCTP"}


class Hook(IntEnum):
    """Where a packet enters netfilter on a node."""

    PREROUTING = 0  # it came in by an interface: from a local pod or from outside
    OUTPUT = 1  # a process in the node's own network namespace sent it


class Verdict(IntEnum):
    """What a node does with the first packet of a connection."""

    NO_MATCH = 0  # not a Service's: it is routed as it is
    DNAT = 1  # rewritten to an endpoint
    REJECT = 2  # answered with ICMP port unreachable
    DROP = 3  # silently gone


class Packet(NamedTuple):
    """The first packet of a flow as a node sees it; addresses are `svcsim.linux.address` ints."""

    protocol: int
    source: int
    source_port: int
    destination: int
    destination_port: int
    hook: Hook = Hook.PREROUTING


class Flow(Protocol):
    """A connection's own entry in a load balancer of the kernel, which follows the connection's state."""

    def on_packet(self, now_ns: int) -> bool:
        """Packets passed: the entry's time starts anew. False if the entry is gone: the kernel drops or resets the flow."""

    def on_close(self, now_ns: int, *, by_client: bool) -> None:
        """FINs passed in both directions, the first one from the client or from the server."""

    def on_reset(self, now_ns: int) -> None:
        """A RST passed."""


@dataclass(slots=True)
class Decision:
    """The outcome for a first packet, and the work that it cost.

    `destination` and `destination_port` are after DNAT. `service_rules` counts the rules examined in the linear Service list
    (nat KUBE-SERVICES and, where it falls through to it, KUBE-NODEPORTS); `statistic_rules` the `statistic` rules examined
    (the last endpoint has none); `rules` all rules examined, of every table and chain, in order to explain. `flow` is set where
    the kernel keeps a state of its own for the connection, beside conntrack (IPVS). `endpoints` is how many there were to choose
    among, 0 or 1 where there was no choice. `cost_ns` is what the node that decided has charged for it, -1 before it has.

    Nobody else changes a decision: a table gives the same one to all packets that it treats alike.
    """

    verdict: Verdict
    destination: int
    destination_port: int
    masquerade: bool = False
    service_rules: int = 0
    statistic_rules: int = 0
    rules: int = 0
    flow: Flow | None = None
    endpoints: int = 0
    cost_ns: int = field(default=-1, init=False, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Step:
    """One rule (or map look-up) that a walk examined: where it stands, its text, whether it matched and what it did."""

    table: str
    chain: str
    rule: str
    matched: bool
    effect: str = ""


class FirstPacketPath(Protocol):
    """The state that kube-proxy programmed on a node, as first packets meet it."""

    def decide(self, packet: Packet, uniform: float, now_ns: int) -> Decision:
        """The outcome by the compiled table; `uniform` in [0, 1) makes the random choice."""

    def walk(self, packet: Packet, uniform: float, now_ns: int) -> tuple[Decision, list[Step]]:
        """The same outcome by examining the rules one by one, with the way."""
