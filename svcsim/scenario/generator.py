"""Services by the thousand, for scale: each with hand-made endpoints, so that they cost rules and memory but no pods."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from svcsim.kube.api.base import ObjectMeta
from svcsim.kube.api.endpoints import SERVICE_NAME_LABEL, Endpoint, EndpointConditions, EndpointPort, EndpointSlice
from svcsim.kube.api.service import Service, ServicePort, ServiceSpec
from svcsim.scenario.quantities import Cidr, Count, Name, Part, Port, RateOrZero, family_of

MAX_SERVICES = 100_000
IPV6_ENDPOINT_CIDR = "fd00:172:16::/64"
MAX_GENERATED_ENDPOINTS = 2_000_000
ENDPOINTS_A_SLICE = 100


class ServiceGenerator(Part):
    """So many Services without pods."""

    count: Annotated[int, Field(ge=1, le=MAX_SERVICES)]
    endpoints: Count = 1
    """Endpoints of each."""
    name: Name = "filler"
    """Beginning of their names: filler-1, filler-2, …"""
    namespace: Name = "filler"
    port: Port = 80
    protocol: Literal["TCP", "UDP"] = "TCP"
    endpoint_cidr: Cidr = "172.16.0.0/12"
    """Where their endpoints' addresses lie; nothing answers there. Default in a cluster without IPv4: fd00:172:16::/64."""
    churn_per_s: RateOrZero = 0.0
    """Endpoint changes a second, in one Service after the other: its first endpoint turns unready, and ready with the next."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        endpoints = self.count * self.endpoints
        if endpoints > MAX_GENERATED_ENDPOINTS:
            raise ValueError(f"{endpoints} endpoints are more than the limit of {MAX_GENERATED_ENDPOINTS}")
        if self.churn_per_s and not endpoints:
            raise ValueError("there is no endpoint that could change; leave 'churn' out, or give 'endpoints'")
        room = ip_network(self.endpoint_cidr).num_addresses - 2
        if endpoints > room:
            raise ValueError(f"{self.endpoint_cidr} has room for {max(0, room)} endpoints, not for {endpoints}")
        return self

    def key(self, number: int) -> tuple[str, str]:
        """(namespace, name) of the Service with a number, from 1."""
        return self.namespace, f"{self.name}-{number}"

    def has(self, namespace: str, name: str) -> bool:
        """Whether a Service is one of these."""
        prefix, _, number = name.rpartition("-")
        canonical = number.isdigit() and len(number) < 8 and str(int(number)) == number
        return canonical and namespace == self.namespace and prefix == self.name and 1 <= int(number) <= self.count

    def objects(self) -> Iterator[Service | EndpointSlice]:
        """Each Service and its slices, in order."""
        first_address = ip_network(self.endpoint_cidr).network_address + 1
        base, address_of = int(first_address), type(first_address)
        family = family_of(self.endpoint_cidr)
        port = EndpointPort(name="", protocol=self.protocol, port=self.port)
        for i in range(self.count):
            namespace, name = self.key(i + 1)
            metadata = ObjectMeta(name=name, namespace=namespace)
            yield Service(
                metadata=metadata,
                spec=ServiceSpec(
                    ip_families=(family,), ports=(ServicePort(protocol=self.protocol, port=self.port, target_port=self.port),)
                ),
            )
            first = base + i * self.endpoints
            for number, start in enumerate(range(0, self.endpoints, ENDPOINTS_A_SLICE), 1):
                addresses = range(first + start, first + min(start + ENDPOINTS_A_SLICE, self.endpoints))
                yield EndpointSlice(
                    metadata=ObjectMeta(
                        name=f"{name}-{number}", namespace=namespace, labels={SERVICE_NAME_LABEL: name}
                    ),
                    address_type=family,
                    endpoints=tuple(
                        Endpoint(addresses=(str(address_of(address)),), conditions=EndpointConditions(ready=True))
                        for address in addresses
                    ),
                    ports=(port,),
                )
