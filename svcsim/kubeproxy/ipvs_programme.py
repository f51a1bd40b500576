"""What kube-proxy's IPVS mode makes of one Service port: virtual servers with their endpoints, as one immutable value.

A programme depends on the port, on the endpoints that the node uses for it, and on few settings; nodes that agree in these
share it by identity. Virtual servers of node ports stand for one a node address.

Source: pkg/proxy/ipvs/proxier.go, `syncProxyRules` and `syncEndpoint` (kubernetes 1.30 to 1.34).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b

from svcsim.kubeproxy.endpoint_map import EndpointInfo
from svcsim.kubeproxy.ipvs_sets import Membership
from svcsim.kubeproxy.service_ports import ServicePortInfo, ServicePortName
from svcsim.kubeproxy.settings import ProxySettings
from svcsim.kubeproxy.topology import Endpoints, categorize, depends_on_node
from svcsim.linux.address import Address, Prefix
from svcsim.units import S

Destination = tuple[int, int, int]
"""Address, protocol and port of a virtual server; the address is 0 for "each of the node's"."""

_REVISIONS = 4


@dataclass(frozen=True, slots=True, eq=False)
class VirtualServer:
    """One virtual server: where it listens, which endpoints it leads to, and the sets that its destination is in."""

    owner: ServicePortName
    protocol: int
    address: int
    port: int
    endpoints: tuple[EndpointInfo, ...]
    persistence_ns: int = 0
    membership: int = 0
    policy_local: bool = False
    source_ranges: tuple[Prefix, ...] = ()
    allow_from_node: bool = False

    @property
    def destination(self) -> Destination:
        """Its key."""
        return self.address, self.protocol, self.port


@dataclass(frozen=True, slots=True, eq=False)
class Programme:
    """All virtual servers of a port; `endpoints` are all of the port's, `local_nodes` the nodes that run one of them.

    `objects` counts what IPVS of a node holds for it: virtual and real servers, as the profile of costs does (entries of ipsets,
    which `ipset restore` writes in bulk, are none); `node_port_objects` what it holds for each of its addresses beside.
    """

    port: ServicePortInfo
    endpoints: tuple[EndpointInfo, ...]
    servers: tuple[VirtualServer, ...]
    local_nodes: frozenset[str]
    signature: int
    objects: int
    node_port_objects: int

    def is_local(self, address: int, port: int, node_name: str) -> bool:
        """Whether an endpoint of this address and port runs on the node (KUBE-LOOP-BACK has it)."""
        return any(
            each.address == address and each.port == port and each.is_local(node_name) for each in self.endpoints
        )


def build(
    port: ServicePortInfo, endpoints: tuple[EndpointInfo, ...], used: Endpoints, number: int, *, node_ip: Address
) -> Programme:
    """The programme of a port; `number` makes it unlike all others in `signature`."""
    cluster = used.cluster or ()
    external_endpoints = (used.local or cluster) if port.external_policy_local else cluster
    allow_from_node = any(node_ip in block for block in port.source_ranges)
    protocol = port.protocol_number
    persistence_ns = (port.affinity_seconds or 0) * S

    def server(address: int, number: int, membership: int, ranges: tuple[Prefix, ...] = ()) -> VirtualServer:
        return VirtualServer(
            port.name, protocol, address, number, external_endpoints, persistence_ns, membership, port.external_policy_local,
            ranges, bool(ranges) and allow_from_node,
        )

    internal_endpoints = (used.local or cluster) if port.internal_policy_local else cluster
    servers = [
        VirtualServer(
            port.name, protocol, port.cluster_ip, port.port, internal_endpoints, persistence_ns, int(Membership.CLUSTER_IP)
        )
    ]
    external = int(Membership.EXTERNAL_IP_LOCAL if port.external_policy_local else Membership.EXTERNAL_IP)
    servers += [server(address, port.port, external) for address in port.external_ips]
    balancer = int(Membership.LOAD_BALANCER)
    if port.external_policy_local:
        balancer |= Membership.LOAD_BALANCER_LOCAL
    if port.source_ranges:
        balancer |= Membership.LOAD_BALANCER_FIREWALL
    servers += [server(address, port.port, balancer, port.source_ranges) for address in port.load_balancer_vips]
    if port.node_port:
        servers.append(server(0, port.node_port, 0))
    digest = blake2b(number.to_bytes(8, "little"), digest_size=16).digest()
    nodes = frozenset(each.node_name for each in endpoints if each.node_name)
    weights = [1 + len(each.endpoints) for each in servers]
    node_port_objects = weights[-1] if port.node_port else 0
    return Programme(
        port, endpoints, tuple(servers), nodes, int.from_bytes(digest, "little"), sum(weights) - node_port_objects,
        node_port_objects,
    )


@dataclass(slots=True)
class _Revision:
    port: ServicePortInfo
    endpoints: tuple[EndpointInfo, ...]
    built: dict[tuple[object, ...], Programme] = field(default_factory=dict)


class ProgrammeLibrary:
    """Builds each programme once for all nodes of one family; `built` counts."""

    def __init__(self) -> None:
        self.built = 0
        self._revisions: dict[ServicePortName, list[_Revision]] = {}

    def programme(
        self, port: ServicePortInfo, endpoints: tuple[EndpointInfo, ...], settings: ProxySettings
    ) -> Programme:
        """The programme of a port on a node."""
        known = self._revisions.setdefault(port.name, [])
        revision = next((each for each in known if each.port is port and each.endpoints is endpoints), None)
        if revision is None:
            revision = _Revision(port, endpoints)
            known.insert(0, revision)
            del known[_REVISIONS:]
        place = (settings.node_name, settings.zone) if depends_on_node(endpoints, port) else ()
        allow_from_node = any(settings.node_ip in block for block in port.source_ranges)
        key = (settings.prefer_same_node, allow_from_node, *place)
        programme = revision.built.get(key)
        if programme is None:
            used = categorize(endpoints, port, settings.node_name, settings.zone, same_node=settings.prefer_same_node)
            programme = build(port, endpoints, used, self.built, node_ip=settings.node_ip)
            self.built += 1
            revision.built[key] = programme
        return programme
