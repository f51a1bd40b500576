"""EndpointSlice (discovery.k8s.io/v1) and Endpoints (core/v1): where the pods behind a Service are.

Source: staging/src/k8s.io/api/discovery/v1/types.go and core/v1/types.go.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from svcsim.kube.api.base import NoneAsEmpty, ObjectMeta, Strict, StrMap
from svcsim.kube.api.service import Protocol

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
MANAGED_BY_LABEL = "endpointslice.kubernetes.io/managed-by"


class EndpointConditions(Strict):
    """Conditions of an endpoint; unset `ready` and `serving` read as true, unset `terminating` as false."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class ForZone(Strict):
    """A zone that an endpoint is hinted for."""

    name: str


class ForNode(Strict):
    """A node that an endpoint is hinted for."""

    name: str


class EndpointHints(Strict):
    """Topology hints of an endpoint."""

    for_zones: Annotated[tuple[ForZone, ...], NoneAsEmpty] = ()
    for_nodes: Annotated[tuple[ForNode, ...], NoneAsEmpty] = ()


class ObjectReference(Strict):
    """What an endpoint stands for, normally a pod."""

    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""
    api_version: str = ""
    resource_version: str = ""
    field_path: str = ""


class Endpoint(Strict):
    """One endpoint: its addresses, conditions and place."""

    addresses: tuple[str, ...]
    conditions: EndpointConditions = Field(default_factory=EndpointConditions)
    hostname: str | None = None
    target_ref: ObjectReference | None = None
    node_name: str | None = None
    zone: str | None = None
    hints: EndpointHints | None = None
    deprecated_topology: StrMap = Field(default_factory=dict)


class EndpointPort(Strict):
    """A port that every endpoint of the slice serves (name empty: the unnamed port; port None: all ports)."""

    name: str | None = None
    protocol: Protocol | None = None
    port: int | None = None
    app_protocol: str | None = None


class EndpointSlice(Strict):
    """Up to 100 endpoints (by default) of one Service and one address family."""

    api_version: Literal["discovery.k8s.io/v1", "discovery.k8s.io/v1beta1"] = "discovery.k8s.io/v1"
    kind: Literal["EndpointSlice"] = "EndpointSlice"
    metadata: ObjectMeta
    address_type: Literal["IPv4", "IPv6", "FQDN"] = "IPv4"
    endpoints: Annotated[tuple[Endpoint, ...], NoneAsEmpty] = ()
    ports: Annotated[tuple[EndpointPort, ...], NoneAsEmpty] = ()

    @property
    def service_key(self) -> str:
        """`namespace/name` of the Service that the slice belongs to, empty without the label."""
        name = self.metadata.labels.get(SERVICE_NAME_LABEL, "")
        return f"{self.metadata.namespace}/{name}" if name else ""


class EndpointAddress(Strict):
    """One address of an Endpoints subset."""

    ip: str
    hostname: str = ""
    node_name: str | None = None
    target_ref: ObjectReference | None = None


class EndpointsPort(Strict):
    """One port of an Endpoints subset."""

    name: str = ""
    port: int
    protocol: Protocol = "TCP"
    app_protocol: str | None = None


class EndpointSubset(Strict):
    """Addresses that share ports: the cross product is the set of endpoints."""

    addresses: Annotated[tuple[EndpointAddress, ...], NoneAsEmpty] = ()
    not_ready_addresses: Annotated[tuple[EndpointAddress, ...], NoneAsEmpty] = ()
    ports: Annotated[tuple[EndpointsPort, ...], NoneAsEmpty] = ()


class Endpoints(Strict):
    """All endpoints of a Service in one object, named like the Service."""

    api_version: Literal["v1"] = "v1"
    kind: Literal["Endpoints"] = "Endpoints"
    metadata: ObjectMeta
    subsets: Annotated[tuple[EndpointSubset, ...], NoneAsEmpty] = ()
