"""Where the API server proxies `services/[scheme:]name[:port]/proxy` to: one ready endpoint of the port asked for.

Sources: kubernetes pkg/registry/core/service/storage/storage.go (ResourceLocation), k8s.io/apimachinery
pkg/util/net/port_split.go.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from svcsim.kube.api.endpoints import Endpoints
from svcsim.kube.api.service import Service
from svcsim.linux.address import format_endpoint, parse_address


class ProxyTargetError(Exception):
    """A request that leads nowhere: malformed, of an unknown Service or port, or without a ready endpoint."""


@dataclass(frozen=True, slots=True)
class ProxyRequest:
    """The parts of `[scheme:]name[:port]`; the port is a name or a number of the Service, empty for the unnamed port."""

    scheme: str
    name: str
    port: str


def parse_request(text: str) -> ProxyRequest:
    """The parts of a request; ProxyTargetError when it is malformed."""
    parts = text.split(":")
    if len(parts) > 3 or (len(parts) == 3 and parts[0] not in ("", "http", "https")):
        raise ProxyTargetError(f"invalid service request {text!r}: it is [scheme:]name[:port]")
    scheme, name, port = ["", *parts, ""][:3] if len(parts) < 3 else parts
    if not name:
        raise ProxyTargetError(f"invalid service request {text!r}: it has no name")
    return ProxyRequest(scheme, name, port)


def proxy_location(
    text: str,
    service_of: Callable[[str], Service | None],
    endpoints_of: Callable[[str], Endpoints | None],
    uniform: float = 0.0,
) -> str:
    """The location `scheme://address:port` for a request; `uniform` in [0, 1) chooses among subsets and addresses."""
    request = parse_request(text)
    service = service_of(request.name)
    if service is None:
        raise ProxyTargetError(f"service {request.name!r} not found")
    port_name = request.port
    if port_name.isdecimal():
        names = [port.name for port in service.spec.ports if port.port == int(port_name)]
        if not names:
            raise ProxyTargetError(f"no service port {port_name} found for service {request.name!r}")
        port_name = names[0]
    endpoints = endpoints_of(request.name)
    candidates = [
        (address.ip, port.port)
        for subset in (endpoints.subsets if endpoints is not None else ())
        for port in subset.ports
        if port.name == port_name
        for address in subset.addresses
    ]
    if not candidates:
        raise ProxyTargetError(f"no endpoints available for service {request.name!r}")
    ip, number = candidates[int(uniform * len(candidates))]
    scheme = f"{request.scheme}:" if request.scheme else ""
    return f"{scheme}//{format_endpoint(parse_address(ip), number)}"
