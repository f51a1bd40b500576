"""Services and slices for tests of kube-proxy, with as few words as possible."""

from __future__ import annotations

from typing import Any

from svcsim.kube.api.base import ObjectMeta
from svcsim.kube.api.endpoints import SERVICE_NAME_LABEL, Endpoint, EndpointConditions, EndpointPort, EndpointSlice
from svcsim.kube.api.service import Service, ServicePort, ServiceSpec


def service(name: str, cluster_ip: str, *ports: int | ServicePort, **spec: Any) -> Service:
    """A Service of namespace `ns` with TCP ports of these numbers."""
    return Service(
        metadata=ObjectMeta(namespace="ns", name=name),
        spec=ServiceSpec(
            cluster_ip=cluster_ip,
            ports=tuple(port if isinstance(port, ServicePort) else ServicePort(port=port) for port in ports),
            **spec,
        ),
    )


def endpoint(address: str, node: str = "", **conditions: bool) -> Endpoint:
    """An endpoint, on a node or nowhere."""
    return Endpoint(addresses=(address,), node_name=node or None, conditions=EndpointConditions(**conditions))


def piece(
    name: str, *endpoints: str | Endpoint, port: int = 8080, protocol: Any = "TCP", port_name: str = "", number: int = 1
) -> EndpointSlice:
    """The slice `name-number` of the Service `name` of namespace `ns`."""
    return EndpointSlice(
        metadata=ObjectMeta(namespace="ns", name=f"{name}-{number}", labels={SERVICE_NAME_LABEL: name}),
        address_type="IPv6" if endpoints and ":" in str(endpoints[0]) and isinstance(endpoints[0], str) else "IPv4",
        endpoints=tuple(each if isinstance(each, Endpoint) else endpoint(each) for each in endpoints),
        ports=(EndpointPort(name=port_name, port=port, protocol=protocol),),
    )
