"""The objects a cluster DNS server has seen, indexed so that a question costs what its answer is long.

A change touches the index of its own Service alone; what is derived of a Service (its targets by port and by
endpoint label) is built when it is first asked for and dropped when one of its slices changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from svcsim.kube.api.endpoints import Endpoints, EndpointSlice
from svcsim.kube.api.service import Service
from svcsim.linux.address import Address, parse_address

ServiceKey = tuple[str, str]
"""(namespace, name), lower case as Kubernetes has them."""

NO_PORT = -1
"""Port of a target of a slice without ports: it has addresses and no SRV records."""

_LABEL_MAX = 63
SOURCE_CLUSTER = "multicluster.kubernetes.io/source-cluster"
IMPORTED_SERVICE = "multicluster.kubernetes.io/service-name"
"""Labels of a slice that another cluster has exported (KEP-1645)."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a name leads to: a host and a port, with the host's own name relative to the zone.

    A host that is a name is a CNAME's target, or (`in_zone`) itself relative to the zone.
    """

    host: Address | str
    port: int
    owner: str
    in_zone: bool = False


@dataclass(frozen=True, slots=True)
class PublishedEndpoint:
    """A ready address of a slice, as DNS sees it."""

    address: Address
    text: str
    hostname: str
    pod_name: str
    cluster: str = ""

    def label(self, use_pod_name: bool) -> str:
        """The endpoint's own label: its hostname, else (if configured) its pod's name, else its address; and its cluster's."""
        own = self._own_label(use_pod_name)
        return f"{own}.{self.cluster}" if self.cluster else own

    def _own_label(self, use_pod_name: bool) -> str:
        if self.hostname:
            return self.hostname
        if use_pod_name and self.pod_name and len(self.pod_name) <= _LABEL_MAX:
            return self.pod_name
        return self.text.replace(".", "-").replace(":", "-")


@dataclass(frozen=True, slots=True)
class Port:
    """A named port, its name and protocol in lower case."""

    name: str
    protocol: str
    number: int


@dataclass(frozen=True, slots=True)
class Subset:
    """Endpoints that share ports."""

    endpoints: tuple[PublishedEndpoint, ...]
    ports: tuple[Port, ...]


@dataclass(frozen=True, slots=True)
class PublishedService:
    """A Service, as DNS sees it."""

    namespace: str
    name: str
    cluster_ips: tuple[Address, ...]
    ports: tuple[Port, ...]
    headless: bool
    external_name: str | None

    @property
    def owner(self) -> str:
        """Its name relative to the zone."""
        return f"{self.name}.{self.namespace}.svc"


def _published(service: Service) -> PublishedService:
    spec = service.spec
    external = spec.external_name if spec.type == "ExternalName" else None
    texts = spec.cluster_ips or ((spec.cluster_ip,) if spec.cluster_ip else ())
    headless = external is None and "None" in texts
    ips = () if headless or external is not None else tuple(parse_address(text) for text in texts if text)
    ports = tuple(Port(port.name.lower(), port.protocol.lower(), port.port) for port in spec.ports)
    namespace, name = service.metadata.namespace, service.metadata.name
    return PublishedService(namespace, name, ips, ports, headless, external)


_SENTINEL = (Port("", "", NO_PORT),)


def _slice_subset(endpoint_slice: EndpointSlice) -> Subset:
    if endpoint_slice.address_type == "FQDN":
        return Subset((), _SENTINEL)
    endpoints = tuple(
        PublishedEndpoint(
            parse_address(address),
            address,
            endpoint.hostname or "",
            endpoint.target_ref.name if endpoint.target_ref else "",
            endpoint_slice.metadata.labels.get(SOURCE_CLUSTER, ""),
        )
        for endpoint in endpoint_slice.endpoints
        if endpoint.conditions.ready is not False
        for address in endpoint.addresses
    )
    ports = tuple(
        Port(
            (port.name or "").lower(),
            (port.protocol or "TCP").lower(),
            port.port if port.port is not None else NO_PORT,
        )
        for port in endpoint_slice.ports
    )
    return Subset(endpoints, ports or _SENTINEL)


def _endpoints_subsets(endpoints: Endpoints) -> tuple[Subset, ...]:
    return tuple(
        Subset(
            tuple(
                PublishedEndpoint(
                    parse_address(address.ip),
                    address.ip,
                    address.hostname,
                    address.target_ref.name if address.target_ref else "",
                )
                for address in subset.addresses
            ),
            tuple(Port(port.name.lower(), port.protocol.lower(), port.port) for port in subset.ports) or _SENTINEL,
        )
        for subset in endpoints.subsets
    )


class EndpointTargets:
    """The targets of one Service's ready endpoints: all, by endpoint label, and by (port, protocol)."""

    __slots__ = ("all", "by_label", "by_port")

    def __init__(self, service: ServiceKey, subsets: Iterable[Subset], use_pod_names: bool) -> None:
        namespace, name = service
        everything: list[Target] = []
        by_label: dict[str, list[Target]] = {}
        by_port: dict[tuple[str, str], list[Target]] = {}
        for subset in subsets:
            for endpoint in subset.endpoints:
                label = endpoint.label(use_pod_names)
                for port in subset.ports:
                    target = Target(endpoint.address, port.number, f"{label}.{name}.{namespace}.svc")
                    everything.append(target)
                    by_label.setdefault(label.lower(), []).append(target)
                    by_port.setdefault((port.name, port.protocol), []).append(target)
        self.all = tuple(everything)
        self.by_label = {label: tuple(targets) for label, targets in by_label.items()}
        self.by_port = {port: tuple(targets) for port, targets in by_port.items()}


class Zone:
    """Services, ready endpoints, pods and namespaces of a cluster, kept up to date one object at a time.

    `synced` is false until the server's first lists have arrived: a name error is then a SERVFAIL.
    """

    def __init__(self) -> None:
        self.synced = True
        self.revision = 0
        self.services: dict[ServiceKey, PublishedService] = {}
        self._subsets: dict[ServiceKey, dict[str, tuple[Subset, ...]]] = {}
        self._source_service: dict[str, ServiceKey] = {}
        self._by_cluster_ip: dict[Address, dict[ServiceKey, None]] = {}
        self._by_endpoint_ip: dict[Address, dict[str, None]] = {}
        self._pods: dict[ServiceKey, Address] = {}
        self._pods_by_ip: dict[Address, dict[ServiceKey, None]] = {}
        self._namespaces: dict[str, None] = {}
        self._namespace_use: dict[str, int] = {}
        self._targets: dict[tuple[ServiceKey, bool], EndpointTargets] = {}

    def set_namespace(self, name: str) -> None:
        """A namespace exists, also one without objects."""
        self._namespaces[name] = None
        self.revision += 1

    def remove_namespace(self, name: str) -> None:
        """A namespace is gone."""
        self._namespaces.pop(name, None)
        self.revision += 1

    def has_namespace(self, name: str) -> bool:
        """Whether a namespace exists or holds an object."""
        return name in self._namespaces or self._namespace_use.get(name, 0) > 0

    def set_service(self, service: Service) -> None:
        """A Service was added or changed."""
        published = _published(service)
        key = (published.namespace, published.name)
        self.remove_service(key)
        self.services[key] = published
        self._use(published.namespace, 1)
        for address in published.cluster_ips:
            self._by_cluster_ip.setdefault(address, {})[key] = None

    def remove_service(self, key: ServiceKey) -> None:
        """A Service is gone; its endpoints stay until they are removed themselves."""
        self.revision += 1
        old = self.services.pop(key, None)
        if old is None:
            return
        self._use(old.namespace, -1)
        for address in old.cluster_ips:
            owners = self._by_cluster_ip[address]
            del owners[key]
            if not owners:
                del self._by_cluster_ip[address]

    def set_slice(self, endpoint_slice: EndpointSlice) -> None:
        """An EndpointSlice was added or changed; one without the Service's label is nobody's."""
        source = f"slice/{endpoint_slice.metadata.key}"
        service_key = endpoint_slice.service_key
        imported = endpoint_slice.metadata.labels.get(IMPORTED_SERVICE)
        if imported:
            service_key = f"{endpoint_slice.metadata.namespace}/{imported}"
        if not service_key:
            self._remove_source(source)
            return
        namespace, _, name = service_key.partition("/")
        self._set_source(source, (namespace, name), (_slice_subset(endpoint_slice),))

    def remove_slice(self, key: str) -> None:
        """The EndpointSlice `namespace/name` is gone."""
        self._remove_source(f"slice/{key}")

    def set_endpoints(self, endpoints: Endpoints) -> None:
        """An Endpoints object was added or changed, for servers that watch Endpoints in place of slices."""
        metadata = endpoints.metadata
        source = f"endpoints/{metadata.key}"
        self._set_source(source, (metadata.namespace, metadata.name), _endpoints_subsets(endpoints))

    def remove_endpoints(self, key: str) -> None:
        """The Endpoints object `namespace/name` is gone."""
        self._remove_source(f"endpoints/{key}")

    def set_pod(self, namespace: str, name: str, address: Address) -> None:
        """A pod has this address (asked for only by `pods: verified`)."""
        self.remove_pod(namespace, name)
        self._pods[namespace, name] = address
        self._pods_by_ip.setdefault(address, {})[namespace, name] = None

    def remove_pod(self, namespace: str, name: str) -> None:
        """A pod is gone or terminating."""
        self.revision += 1
        address = self._pods.pop((namespace, name), None)
        if address is not None:
            del self._pods_by_ip[address][namespace, name]

    def _use(self, namespace: str, change: int) -> None:
        self._namespace_use[namespace] = self._namespace_use.get(namespace, 0) + change

    def _set_source(self, source: str, service: ServiceKey, subsets: tuple[Subset, ...]) -> None:
        if self._source_service.get(source) != service:
            self._remove_source(source)
        self._unindex(source, service)
        self._source_service[source] = service
        self._subsets.setdefault(service, {})[source] = subsets
        for subset in subsets:
            for endpoint in subset.endpoints:
                self._by_endpoint_ip.setdefault(endpoint.address, {})[source] = None
        self._changed(service)

    def _remove_source(self, source: str) -> None:
        service = self._source_service.pop(source, None)
        if service is None:
            return
        self._unindex(source, service)
        del self._subsets[service][source]
        if not self._subsets[service]:
            del self._subsets[service]
        self._changed(service)

    def _unindex(self, source: str, service: ServiceKey) -> None:
        for subset in self._subsets.get(service, {}).get(source, ()):
            for endpoint in subset.endpoints:
                owners = self._by_endpoint_ip.get(endpoint.address)
                if owners is not None:
                    owners.pop(source, None)
                    if not owners:
                        del self._by_endpoint_ip[endpoint.address]

    def _changed(self, service: ServiceKey) -> None:
        self.revision += 1
        self._targets.pop((service, False), None)
        self._targets.pop((service, True), None)

    def subsets(self, service: ServiceKey) -> Iterator[Subset]:
        """The ready endpoints of a Service, source by source."""
        for subsets in self._subsets.get(service, {}).values():
            yield from subsets

    def has_ready_endpoints(self, service: ServiceKey) -> bool:
        """Whether any address of the Service is ready."""
        return any(subset.endpoints for subset in self.subsets(service))

    def endpoint_targets(self, service: ServiceKey, use_pod_names: bool) -> EndpointTargets:
        """The endpoint targets of a Service."""
        found = self._targets.get((service, use_pod_names))
        if found is None:
            found = EndpointTargets(service, self.subsets(service), use_pod_names)
            self._targets[service, use_pod_names] = found
        return found

    def services_with_cluster_ip(self, address: Address) -> Iterator[PublishedService]:
        """The Services whose virtual IP this is."""
        for key in self._by_cluster_ip.get(address, ()):
            yield self.services[key]

    def endpoints_with_address(self, address: Address) -> Iterator[tuple[ServiceKey, PublishedEndpoint]]:
        """The ready endpoints with this address and the Service each belongs to."""
        for source in self._by_endpoint_ip.get(address, ()):
            service = self._source_service[source]
            for subset in self._subsets[service][source]:
                for endpoint in subset.endpoints:
                    if endpoint.address == address:
                        yield service, endpoint

    def pod_namespaces(self, address: Address) -> Iterator[str]:
        """The namespaces of the pods with this address."""
        for namespace, _ in self._pods_by_ip.get(address, ()):
            yield namespace
