"""Endpoints of Service ports, gathered from EndpointSlices.

What a slice says does not depend on the node that reads it, so it is read once for all nodes; whether an endpoint is local is
asked with the node's name.

Source: pkg/proxy/endpoint.go, pkg/proxy/endpointslicecache.go (kubernetes 1.30 to 1.34).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from svcsim.kube.api.endpoints import Endpoint, EndpointSlice
from svcsim.kubeproxy.service_ports import ServicePortName, parse_sloppy
from svcsim.kubeproxy.settings import IPFamily
from svcsim.linux.address import Address, format_endpoint, is_ipv6


@dataclass(frozen=True, slots=True)
class EndpointInfo:
    """One address and port behind a Service port, with its conditions and hints.

    `ready` is true only while the endpoint isn't terminating, unless the Service publishes addresses that are not ready.
    """

    address: Address
    port: int
    node_name: str = ""
    zone: str = ""
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    zone_hints: tuple[str, ...] = ()
    node_hints: tuple[str, ...] = ()
    text: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", format_endpoint(self.address, self.port))

    def __str__(self) -> str:
        return self.text

    def is_local(self, node_name: str) -> bool:
        """Whether the endpoint runs on this node."""
        return self.node_name == node_name != ""


EndpointsByPort = dict[ServicePortName, tuple[EndpointInfo, ...]]
"""Endpoints of each Service port, sorted by their text (`10.0.0.10:80` before `10.0.0.2:80`); equal texts side by side."""


def _endpoint_info(endpoint: Endpoint, address: Address, port: int) -> EndpointInfo:
    conditions, hints = endpoint.conditions, endpoint.hints
    return EndpointInfo(
        address=address,
        port=port,
        node_name=endpoint.node_name or "",
        zone=endpoint.zone or "",
        ready=conditions.ready is not False,
        serving=conditions.serving is not False,
        terminating=conditions.terminating is True,
        zone_hints=tuple(hint.name for hint in hints.for_zones) if hints else (),
        node_hints=tuple(hint.name for hint in hints.for_nodes) if hints else (),
    )


def endpoints_by_port(namespace: str, name: str, slices: Iterable[EndpointSlice], family: IPFamily) -> EndpointsByPort:
    """The endpoints that a Service's slices of one family give, by Service port.

    Only the first address of an endpoint counts; an address of the wrong family, or a port without number, is left out.
    """
    gathered: dict[ServicePortName, list[EndpointInfo]] = {}
    for piece in slices:
        if piece.address_type != family:
            continue
        for port in piece.ports:
            if port.port is None:
                continue
            key = ServicePortName(namespace, name, port.name or "", port.protocol or "TCP")
            found = gathered.setdefault(key, [])
            for endpoint in piece.endpoints:
                if not endpoint.addresses:
                    continue
                address = parse_sloppy(endpoint.addresses[0])
                if is_ipv6(address) == (family == "IPv6"):
                    found.append(_endpoint_info(endpoint, address, port.port))
    return {key: tuple(sorted(found, key=str)) for key, found in gathered.items()}


def without_duplicates(endpoints: tuple[EndpointInfo, ...], node_name: str) -> tuple[EndpointInfo, ...]:
    """One entry an address and port, as a node sees them: of several slices' entries the local one, else the first.

    The given tuple itself comes back, the same object, when nothing is duplicated.
    """
    if all(one.text != other.text for one, other in pairwise(endpoints)):
        return endpoints
    merged: dict[str, EndpointInfo] = {}
    for endpoint in endpoints:
        if endpoint.text not in merged or endpoint.is_local(node_name):
            merged[endpoint.text] = endpoint
    return tuple(merged.values())
