"""The ipsets of kube-proxy's IPVS mode: which there are, what an entry looks like, and how it is written.

>>> str(IpsetEntry(0x0A600001, 80, 6)), str(IpsetEntry(port=30080, protocol=6))
('10.96.0.1,tcp:80', '30080')

Source: pkg/proxy/ipvs/ipset.go and pkg/proxy/ipvs/proxier.go, `ipsetInfo` (kubernetes 1.30 to 1.34).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag
from typing import NamedTuple

from svcsim.linux.address import Prefix, address_value, format_address, is_ipv6
from svcsim.linux.packet import PROTOCOL_NAME, SCTP, TCP, UDP

NAME_LENGTH_MAX = 31
"""IPSET_MAXNAMELEN less the final zero; longer names of IPv6 sets are cut."""

MIN_IPSET_VERSION = (6, 0)


class Membership(IntFlag):
    """The sets over address and port that a destination is in; what is stored are plain ints (flags of enum are slow)."""

    NONE = 0
    CLUSTER_IP = 1
    EXTERNAL_IP = 2
    EXTERNAL_IP_LOCAL = 4
    LOAD_BALANCER = 8
    LOAD_BALANCER_LOCAL = 16
    LOAD_BALANCER_FIREWALL = 32


class IpsetEntry(NamedTuple):
    """An entry: its text has the fields that the type of its set asks for, and no others are given."""

    address: int | None = None
    port: int | None = None
    protocol: int = TCP
    address2: int | None = None
    net: Prefix | None = None

    def __str__(self) -> str:
        if self.address is None:
            return str(self.port)
        text = format_address(self.address)
        if self.port is not None:
            text += f",{PROTOCOL_NAME[self.protocol].lower()}:{self.port}"
        if self.address2 is not None:
            text += f",{format_address(self.address2)}"
        if self.net is not None:
            text += f",{self.net}"
        return text


@dataclass(frozen=True, slots=True)
class Ipset:
    """A set: its name for IPv4, its type, and the comment of the rules that match it."""

    name: str
    type: str
    comment: str


_LOCAL = "with externalTrafficPolicy=local"
LOOP_BACK = Ipset(
    "KUBE-LOOP-BACK", "hash:ip,port,ip", "Kubernetes endpoints dst ip:port, source ip for solving hairpin purpose"
)
CLUSTER_IP = Ipset("KUBE-CLUSTER-IP", "hash:ip,port", "Kubernetes service cluster ip + port for masquerade purpose")
EXTERNAL_IP = Ipset(
    "KUBE-EXTERNAL-IP", "hash:ip,port", "Kubernetes service external ip + port for masquerade and filter purpose"
)
EXTERNAL_IP_LOCAL = Ipset("KUBE-EXTERNAL-IP-LOCAL", "hash:ip,port", f"Kubernetes service external ip + port {_LOCAL}")
LOAD_BALANCER = Ipset("KUBE-LOAD-BALANCER", "hash:ip,port", "Kubernetes service lb portal")
LOAD_BALANCER_FW = Ipset(
    "KUBE-LOAD-BALANCER-FW", "hash:ip,port", "Kubernetes service load balancer ip + port for load balancer with sourceRange"
)
LOAD_BALANCER_LOCAL = Ipset(
    "KUBE-LOAD-BALANCER-LOCAL", "hash:ip,port", f"Kubernetes service load balancer ip + port {_LOCAL}"
)
LOAD_BALANCER_SOURCE_IP = Ipset(
    "KUBE-LOAD-BALANCER-SOURCE-IP",
    "hash:ip,port,ip",
    "Kubernetes service load balancer ip + port + source IP for packet filter purpose",
)
LOAD_BALANCER_SOURCE_CIDR = Ipset(
    "KUBE-LOAD-BALANCER-SOURCE-CIDR",
    "hash:ip,port,net",
    "Kubernetes service load balancer ip + port + source cidr for packet filter purpose",
)
NODE_PORT_TCP = Ipset("KUBE-NODE-PORT-TCP", "bitmap:port", "Kubernetes nodeport TCP port for masquerade purpose")
NODE_PORT_LOCAL_TCP = Ipset("KUBE-NODE-PORT-LOCAL-TCP", "bitmap:port", f"Kubernetes nodeport TCP port {_LOCAL}")
NODE_PORT_UDP = Ipset("KUBE-NODE-PORT-UDP", "bitmap:port", "Kubernetes nodeport UDP port for masquerade purpose")
NODE_PORT_LOCAL_UDP = Ipset("KUBE-NODE-PORT-LOCAL-UDP", "bitmap:port", f"Kubernetes nodeport UDP port {_LOCAL}")
NODE_PORT_SCTP = Ipset(
    "KUBE-NODE-PORT-SCTP-HASH",
    "hash:ip,port",
    "Kubernetes nodeport SCTP port for masquerade purpose with type 'hash ip:port'",
)
NODE_PORT_LOCAL_SCTP = Ipset(
    "KUBE-NODE-PORT-LOCAL-SCTP-HASH", "hash:ip,port", f"Kubernetes nodeport SCTP port {_LOCAL} with type 'hash ip:port'"
)
HEALTH_CHECK_NODE_PORT = Ipset("KUBE-HEALTH-CHECK-NODE-PORT", "bitmap:port", "Kubernetes health check node port")
IPVS_IPS = Ipset("KUBE-IPVS-IPS", "hash:ip", "Kubernetes service ips bound to kube-ipvs0")

IPSETS = (
    LOOP_BACK, CLUSTER_IP, EXTERNAL_IP, EXTERNAL_IP_LOCAL, LOAD_BALANCER, LOAD_BALANCER_FW, LOAD_BALANCER_LOCAL,
    LOAD_BALANCER_SOURCE_IP, LOAD_BALANCER_SOURCE_CIDR, NODE_PORT_TCP, NODE_PORT_LOCAL_TCP, NODE_PORT_UDP,
    NODE_PORT_LOCAL_UDP, NODE_PORT_SCTP, NODE_PORT_LOCAL_SCTP, HEALTH_CHECK_NODE_PORT, IPVS_IPS,
)

NODE_PORT_SETS = {
    TCP: (NODE_PORT_TCP, NODE_PORT_LOCAL_TCP),
    UDP: (NODE_PORT_UDP, NODE_PORT_LOCAL_UDP),
    SCTP: (NODE_PORT_SCTP, NODE_PORT_LOCAL_SCTP),
}
"""By protocol: the set of all node ports, and that of those with policy Local."""


def set_name(ipset: Ipset, *, ipv6: bool) -> str:
    """The name of a set in a family."""
    if not ipv6:
        return ipset.name
    return ipset.name.replace("KUBE-", "KUBE-6-", 1)[:NAME_LENGTH_MAX]


def is_valid_for_set(address: int, *, ipv6: bool) -> bool:
    """Whether kube-proxy takes an address of the node for one of its own: of the family, not loopback, not IPv6 link-local."""
    value = address_value(address)
    if is_ipv6(address) and value >> 32 == 0xFFFF:
        address = value = value & 0xFFFFFFFF  # IPv4-mapped: Go sees the IPv4 address
    if is_ipv6(address) != ipv6:
        return False
    if ipv6:
        return value != 1 and value >> 118 != 0x3FA
    return value >> 24 != 127


def can_use_ipvs(*, ipset_version: tuple[int, ...] | None, has_modules: bool) -> bool:
    """Whether kube-proxy can run in IPVS mode: ipset new enough (None: not there), and a virtual server can be made.

    Source: pkg/proxy/ipvs/proxier.go, `CanUseIPVSProxier`. Without it kube-proxy falls back to iptables.
    """
    return ipset_version is not None and ipset_version >= MIN_IPSET_VERSION and has_modules
