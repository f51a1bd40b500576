"""How one kube-proxy is set up: what its command line, its configuration and its node say.

Source: pkg/proxy/apis/config/types.go, pkg/proxy/iptables/proxier.go (NewProxier) and pkg/proxy/util/nodeport_addresses.go
(kubernetes 1.30 to 1.34).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from svcsim.linux.address import Address, Prefix, is_ipv6

Mode = Literal["iptables", "ipvs", "nftables", "userspace"]
IPFamily = Literal["IPv4", "IPv6"]
LocalDetector = Literal["ByCIDR", "NoOp", "ByBridgeInterface", "ByInterfaceNamePrefix"]

LARGE_CLUSTER_ENDPOINTS = 1000
"""With more endpoints than this, the iptables proxier saves on comments and cleaning (largeClusterEndpointsThreshold)."""

SERVICE_PROXY_NAME_LABEL = "service.kubernetes.io/service-proxy-name"
HEADLESS_LABEL = "service.kubernetes.io/headless"
NOBODY = Address(0)
LOOPBACK = {"IPv4": Prefix.parse("127.0.0.0/8"), "IPv6": Prefix.parse("::1/128")}


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """The settings of a kube-proxy for one address family (a dual-stack node runs one proxier a family).

    `local_ips` are the addresses of the node's interfaces, of either family, without loopback (which every node has).
    `nodeport_addresses` empty means every local address in iptables and ipvs mode (and the primary node IP in nftables mode).
    `node_labels` as pairs. Detector `ByCIDR` uses `cluster_cidr`; the interface ones use `interface`.
    """

    mode: Mode = "iptables"
    family: IPFamily = "IPv4"
    node_name: str = ""
    node_ip: Address = NOBODY
    local_ips: tuple[Address, ...] = ()
    node_labels: tuple[tuple[str, str], ...] = ()
    local_detector: LocalDetector = "NoOp"
    cluster_cidr: Prefix | None = None
    interface: str = ""
    masquerade_all: bool = False
    masquerade_mark: int = 0x4000
    nodeport_addresses: tuple[Prefix, ...] = ()
    localhost_nodeports: bool = True
    conntrack_tcp_liberal: bool = False
    random_fully: bool = True
    nfacct: bool = False
    service_cidrs: tuple[Prefix, ...] = ()
    load_balancer_ip_mode: bool = True
    prefer_same_node: bool = True
    large_cluster_endpoints: int = LARGE_CLUSTER_ENDPOINTS
    sync_period_ns: int = 30_000_000_000
    scheduler: str = "rr"
    _labels: dict[str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_labels", dict(self.node_labels))

    @property
    def is_ipv6(self) -> bool:
        """Whether this proxier serves IPv6."""
        return self.family == "IPv6"

    @property
    def zone(self) -> str:
        """The node's zone, empty without the label."""
        return self._labels.get("topology.kubernetes.io/zone", "")

    @property
    def detects_local_traffic(self) -> bool:
        """Whether the proxy can tell pods' traffic from other traffic (localDetector.IsImplemented)."""
        return self.local_detector != "NoOp" and (self.local_detector != "ByCIDR" or self.cluster_cidr is not None)

    @property
    def loopback(self) -> Prefix:
        """The loopback block of the family."""
        return LOOPBACK[self.family]

    @property
    def family_local_ips(self) -> tuple[Address, ...]:
        """The interface addresses of the proxier's family, without loopback."""
        return tuple(address for address in self.local_ips if is_ipv6(address) == self.is_ipv6)

    @property
    def family_nodeport_addresses(self) -> tuple[Prefix, ...]:
        """The blocks of `nodeport_addresses` of the proxier's family; empty if none is (see `serves_every_nodeport_address`)."""
        return tuple(block for block in self.nodeport_addresses if is_ipv6(block.base) == self.is_ipv6)

    @property
    def serves_every_nodeport_address(self) -> bool:
        """Whether node ports answer on all local addresses: no block of the family is given, or a zero block is (MatchAll)."""
        blocks = self.family_nodeport_addresses
        return not blocks or any(block.length == 0 for block in blocks)

    def nodeport_ips(self) -> tuple[Address, ...]:
        """The node's addresses, loopback among them, that a block of `nodeport_addresses` holds (GetNodeIPs)."""
        loopback = Address((1 << 128) | 1) if self.is_ipv6 else Address(0x7F000001)
        return tuple(
            address
            for address in (loopback, *self.family_local_ips)
            if self.serves_every_nodeport_address or any(address in block for block in self.family_nodeport_addresses)
        )

    def is_local_address(self, address: int) -> bool:
        """Whether the kernel would deliver packets for this address on the node (addrtype LOCAL)."""
        return address in self.local_ips or address in self.loopback
