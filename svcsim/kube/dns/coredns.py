"""Names of CoreDNS's kubernetes plugin: which targets a name below a served zone has.

Forms, left of the zone: `service.namespace.svc`, `endpoint.service.namespace.svc`,
`_port._protocol.service.namespace.svc` and `dashed-address.namespace.pod`. Sources: coredns plugin/kubernetes
parse.go, kubernetes.go, reverse.go, ns.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from svcsim.kube.dns.config import DnsConfig, absolute
from svcsim.kube.dns.zone import PublishedEndpoint, PublishedService, Target, Zone
from svcsim.linux.address import Address, parse_address

_WILD = ("*", "any")


@dataclass(frozen=True, slots=True)
class RecordRequest:
    """A name below a zone, taken apart; parts that it does not have are empty."""

    kind: str = ""
    namespace: str = ""
    service: str = ""
    endpoint: str = ""
    port: str = ""
    protocol: str = ""


def parse(base: str, *, multicluster: bool = False) -> RecordRequest | None:
    """The parts of a lower-case name relative to its zone, None for a shape that no name has."""
    if base in ("", "svc", "pod"):
        return RecordRequest()
    labels = base.split(".")
    kind = labels[-1]
    if kind not in ("svc", "pod") or len(labels) > 5:
        return None
    namespace = labels[-2] if len(labels) > 1 else ""
    service = labels[-3] if len(labels) > 2 else ""
    if len(labels) == 4:
        return RecordRequest(kind, namespace, service, endpoint=labels[0])
    if len(labels) == 5:
        if multicluster and labels[0][0] != "_" and labels[1][0] != "_":
            return RecordRequest(kind, namespace, service, endpoint=f"{labels[0]}.{labels[1]}")
        port, protocol = labels[0].removeprefix("_"), labels[1].removeprefix("_")
        return RecordRequest(kind, namespace, service, port=port, protocol=protocol)
    return RecordRequest(kind, namespace, service)


def _address_of_pod_name(name: str) -> Address | None:
    dotted = name.count("-") == 3 and "--" not in name
    try:
        return parse_address(name.replace("-", "." if dotted else ":"))
    except ValueError:
        return None


class CorednsNames:
    """Look-ups of names in a zone's objects. None is a name error; an empty tuple, a name without data."""

    def __init__(self, zone: Zone, config: DnsConfig) -> None:
        self._zone = zone
        self._config = config
        self._multicluster = config.primary_zone in map(absolute, config.multicluster_zones)

    def _wild(self, label: str) -> bool:
        return self._config.wildcards and label in _WILD

    def _matches(self, asked: str, given: str) -> bool:
        return asked == given or self._wild(asked)

    def serves(self, namespace: str) -> bool:
        """Whether the namespace is within the configured ones and exists."""
        allowed = self._config.namespaces
        return (not allowed or namespace in allowed) and self._zone.has_namespace(namespace)

    def find(self, base: str) -> tuple[Target, ...] | None:
        """The targets of a lower-case name relative to its zone."""
        request = parse(base, multicluster=self._multicluster)
        if request is None:
            return None
        if not request.kind or not request.namespace:
            return ()
        if not self._wild(request.namespace) and not self.serves(request.namespace):
            return None
        if request.kind == "pod":
            return self._pods(request)
        if not request.service:
            return ()
        return self._services(request)

    def _pods(self, request: RecordRequest) -> tuple[Target, ...] | None:
        mode = self._config.pods
        if mode == "disabled":
            return None
        if not request.service:
            return ()
        address = _address_of_pod_name(request.service)
        if mode == "insecure":
            if address is None:
                return None
            return (Target(address, 0, f"{request.service}.{request.namespace}.pod"),)
        namespaces = self._zone.pod_namespaces(address) if address is not None else ()
        found = tuple(
            Target(address, 0, f"{request.service}.{namespace}.pod")
            for namespace in namespaces
            if address is not None and self._matches(request.namespace, namespace) and self.serves(namespace)
        )
        if found:
            return found
        return () if self._wild(request.service) and not self._wild(request.namespace) else None

    def _candidates(self, request: RecordRequest) -> Iterable[PublishedService]:
        services = self._zone.services
        if self._wild(request.namespace) or self._wild(request.service):
            return (
                service
                for service in services.values()
                if self._matches(request.namespace, service.namespace)
                and self._matches(request.service, service.name)
                and self.serves(service.namespace)
            )
        service = services.get((request.namespace, request.service))
        return (service,) if service is not None else ()

    def _services(self, request: RecordRequest) -> tuple[Target, ...] | None:
        found: list[Target] = []
        exists = False
        for service in self._candidates(request):
            targets = self._service_targets(service, request)
            if targets is not None:
                exists = True
                found.extend(targets)
        return tuple(found) if exists else None

    def _service_targets(self, service: PublishedService, request: RecordRequest) -> Iterable[Target] | None:
        key = (service.namespace, service.name)
        if service.external_name is not None:
            if request.endpoint or request.port or request.protocol:
                return None
            target = external_target(service)
            return (target,) if target is not None else None
        if self._config.ignore_empty_service and not service.headless:
            if not self._zone.has_ready_endpoints(key):
                return None
        if service.headless or request.endpoint:
            return self._endpoint_targets(service, request) or None
        ports = [port for port in service.ports if self._port_matches(request, port.name, port.protocol)]
        if not ports:
            return None
        return tuple(Target(ip, port.number, service.owner) for port in ports for ip in service.cluster_ips)

    def _port_matches(self, request: RecordRequest, name: str, protocol: str) -> bool:
        return (not request.port or self._matches(request.port, name)) and (
            not request.protocol or self._matches(request.protocol, protocol)
        )

    def _endpoint_targets(self, service: PublishedService, request: RecordRequest) -> tuple[Target, ...]:
        key = (service.namespace, service.name)
        targets = self._zone.endpoint_targets(key, self._config.endpoint_pod_names)
        if request.endpoint:
            return targets.all if self._wild(request.endpoint) else targets.by_label.get(request.endpoint, ())
        if not request.port and not request.protocol:
            return targets.all
        exact = targets.by_port.get((request.port, request.protocol))
        if exact is not None:
            return exact
        return tuple(
            target
            for (name, protocol), some in targets.by_port.items()
            if self._port_matches(request, name, protocol)
            for target in some
        )

    def pointers(self, address: Address) -> Iterator[str]:
        """The names, relative to the zone, of an address: its Service's, else its endpoints'."""
        allowed = self._config.namespaces
        for service in self._zone.services_with_cluster_ip(address):
            if not allowed or self.serves(service.namespace):
                yield service.owner
                return
        for (namespace, name), endpoint in self._zone.endpoints_with_address(address):
            if not allowed or self.serves(namespace):
                yield f"{self._label(endpoint)}.{name}.{namespace}.svc"

    def _label(self, endpoint: PublishedEndpoint) -> str:
        return endpoint.label(self._config.endpoint_pod_names)

    def name_servers(self) -> list[tuple[str, Address]]:
        """Names (relative to the zone) and addresses of the server: its own Services', if it has any."""
        found: list[tuple[str, Address]] = []
        local_ips = self._local_ips()
        for local in local_ips:
            for key, _ in self._zone.endpoints_with_address(local):
                service = self._zone.services.get(key)
                if service is None:
                    continue
                if service.headless:
                    for subset in self._zone.subsets(key):
                        found += [(f"{self._label(endpoint)}.{service.owner}", endpoint.address) for endpoint in subset.endpoints]
                else:
                    found += [(service.owner, address) for address in service.cluster_ips]
        return found or [("ns.dns", address) for address in local_ips]

    def _local_ips(self) -> tuple[Address, ...]:
        """The server's own addresses: those it is given, or that of the first pod behind its Service."""
        own = self._config.own_service
        if self._config.local_ips or own is None:
            return self._config.local_ips
        return next(((endpoint.address,) for subset in self._zone.subsets(own) for endpoint in subset.endpoints), ())


def external_target(service: PublishedService) -> Target | None:
    """The CNAME target of an ExternalName Service, None when the name reads as an address or is missing."""
    if not service.external_name:
        return None
    try:
        parse_address(service.external_name)
    except ValueError:
        return Target(service.external_name, 0, service.owner)
    return None
