"""A dual-stack node as first packets meet it: the rules of the destination's family decide.

iptables and ip6tables are tables of their own, nftables has `table ip kube-proxy` and `table ip6 kube-proxy`; IPVS is one table
that both proxiers write, each its family's virtual servers and ipsets.
"""

from __future__ import annotations

from svcsim.linux.address import LAST_IPV4
from svcsim.linux.packet import Decision, FirstPacketPath, Packet, Step


class DualStackPath:
    """Implements `svcsim.linux.packet.FirstPacketPath` from one path a family."""

    __slots__ = ("ipv4", "ipv6")

    def __init__(self, ipv4: FirstPacketPath, ipv6: FirstPacketPath) -> None:
        self.ipv4 = ipv4
        self.ipv6 = ipv6

    def decide(self, packet: Packet, uniform: float, now_ns: int) -> Decision:
        """The outcome by the compiled table of the packet's family."""
        return (self.ipv6 if packet.destination > LAST_IPV4 else self.ipv4).decide(packet, uniform, now_ns)

    def walk(self, packet: Packet, uniform: float, now_ns: int) -> tuple[Decision, list[Step]]:
        """The same outcome by examining the rules of the packet's family one by one, with the way."""
        return (self.ipv6 if packet.destination > LAST_IPV4 else self.ipv4).walk(packet, uniform, now_ns)
