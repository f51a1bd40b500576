"""What changed since a kube-proxy's last sync, and the Services and endpoints that it works from.

Watch events arrive at any time; a sync takes what is pending all at once. A change that undoes another before the sync leaves
nothing to do. Reading an object is the same for every node, so a `Catalogue` does it once for all.

Source: pkg/proxy/servicechangetracker.go, endpointschangetracker.go, endpointslicecache.go (kubernetes 1.30 to 1.34).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from svcsim.kube.api.endpoints import EndpointSlice
from svcsim.kube.api.service import Service
from svcsim.kubeproxy.endpoint_map import EndpointInfo, EndpointsByPort, endpoints_by_port, without_duplicates
from svcsim.kubeproxy.service_ports import ServicePortInfo, ServicePortName, service_ports
from svcsim.kubeproxy.settings import HEADLESS_LABEL, SERVICE_PROXY_NAME_LABEL, IPFamily
from svcsim.kubeproxy.shared_map import SharedMap

Ports = Mapping[ServicePortName, ServicePortInfo]
Slices = tuple[EndpointSlice, ...]

_REMEMBERED = 4


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Services and slices as of one instant, read: what nodes that start together share. Keys are `namespace/name`."""

    services: Mapping[str, Ports]
    slices: Mapping[str, Slices]


class Catalogue:
    """Reads Services and slices for the nodes of one family, each object once; the last few revisions stay at hand.

    Without `terminating_endpoints` (feature gate ProxyTerminatingEndpoints) an endpoint that terminates serves no longer, also
    where there is no other.
    """

    def __init__(
        self, family: IPFamily = "IPv4", *, load_balancer_ip_mode: bool = True, terminating_endpoints: bool = True
    ) -> None:
        self.family: IPFamily = family
        self.ip_mode = load_balancer_ip_mode
        self._terminating_endpoints = terminating_endpoints
        self.reads = 0
        self._services: dict[str, list[tuple[Service, Ports]]] = {}
        self._endpoints: dict[str, list[tuple[Slices, EndpointsByPort]]] = {}

    def ports(self, service: Service) -> Ports:
        """What `service_ports` says about this very object, or about an equal reading before it."""
        key = service.metadata.key
        known = self._services.setdefault(key, [])
        for read, ports in known:
            if read is service:
                return ports
        self.reads += 1
        fresh: Ports = service_ports(service, self.family, ip_mode=self.ip_mode)
        fresh = next((ports for _, ports in known if ports == fresh), fresh)
        known.insert(0, (service, fresh))
        del known[_REMEMBERED:]
        return fresh

    def endpoints(self, key: str, slices: Slices) -> EndpointsByPort:
        """The endpoints that these very slices give to the Service of this key, by port."""
        known = self._endpoints.setdefault(key, [])
        for read, found in known:
            if len(read) == len(slices) and all(one is other for one, other in zip(read, slices, strict=True)):
                return found
        self.reads += 1
        namespace, _, name = key.partition("/")
        fresh = endpoints_by_port(namespace, name, slices, self.family)
        if not self._terminating_endpoints:
            fresh = {
                port: tuple(replace(each, serving=False) if each.terminating else each for each in found)
                for port, found in fresh.items()
            }
        fresh = next((found for _, found in known if found == fresh), fresh)
        known.insert(0, (slices, fresh))
        del known[_REMEMBERED:]
        return fresh

    def snapshot(self, services: Iterable[Service], slices: Iterable[EndpointSlice]) -> Snapshot:
        """All of these, read, to start nodes from."""
        gathered: dict[str, dict[str, EndpointSlice]] = {}
        for piece in slices:
            if _is_followed(piece, self.family):
                gathered.setdefault(piece.service_key, {})[piece.metadata.name] = piece
        return Snapshot(
            {service.metadata.key: ports for service in services if (ports := self.ports(service))},
            {key: tuple(pieces[name] for name in sorted(pieces)) for key, pieces in gathered.items()},
        )


def _is_followed(piece: EndpointSlice, family: IPFamily) -> bool:
    labels = piece.metadata.labels
    unfollowed = HEADLESS_LABEL in labels or SERVICE_PROXY_NAME_LABEL in labels
    return bool(piece.service_key) and piece.address_type == family and not unfollowed


@dataclass(frozen=True, slots=True)
class Changes:
    """What a sync has to do: keys of changed Services and of Services with changed slices, in order of arrival.

    `stale_udp_endpoints` are (Service port, `address:port`) that served before and don't now; `new_udp_services` are UDP ports
    that had no ready endpoint before and have one now; `deleted_udp_services` lost their port. Each can leave conntrack entries
    behind that lead nowhere.
    """

    services: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()
    stale_udp_endpoints: tuple[tuple[ServicePortName, str], ...] = ()
    new_udp_services: tuple[ServicePortName, ...] = ()
    deleted_udp_services: tuple[ServicePortInfo, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of all Services that a partial sync rewrites."""
        return tuple(dict.fromkeys(self.services + self.endpoints))

    @property
    def conntrack_cleanup(self) -> bool:
        """Whether UDP entries have to be looked through after this sync (ConntrackCleanupRequired)."""
        return bool(self.stale_udp_endpoints or self.new_udp_services or self.deleted_udp_services)


class ChangeTracker:
    """One node's view of Services and slices, as of its last sync, and what is pending."""

    __slots__ = ("_pending_services", "_pending_slices", "catalogue", "node_name", "services", "slices", "snapshot")

    def __init__(self, catalogue: Catalogue, node_name: str = "", snapshot: Snapshot | None = None) -> None:
        """A tracker that has applied nothing, or a snapshot that it shares with others (all of it is then new to its proxier)."""
        self.catalogue = catalogue
        self.node_name = node_name
        self.snapshot = snapshot
        self.services: SharedMap[str, Ports] = SharedMap(snapshot.services if snapshot else None)
        self.slices: SharedMap[str, Slices] = SharedMap(snapshot.slices if snapshot else None)
        self._pending_services: dict[str, Ports] = {}
        self._pending_slices: dict[str, dict[str, EndpointSlice]] = {}

    @property
    def has_pending(self) -> bool:
        """Whether a sync would find anything changed."""
        return bool(self._pending_services or self._pending_slices)

    def on_service(self, service: Service) -> bool:
        """A Service was created or updated; True if something is pending now."""
        return self._service(service.metadata.key, self.catalogue.ports(service))

    def on_service_deleted(self, key: str) -> bool:
        """The Service `namespace/name` is gone; True if something is pending now."""
        return self._service(key, {})

    def _service(self, key: str, ports: Ports) -> bool:
        if (self.services.get(key) or {}) == ports:
            self._pending_services.pop(key, None)
        else:
            self._pending_services[key] = ports
        return self.has_pending

    def on_slice(self, piece: EndpointSlice) -> bool:
        """A slice was created or updated; True if something is pending now. Slices of no Service or other family are ignored."""
        if _is_followed(piece, self.catalogue.family):
            self._slice(piece.service_key, piece.metadata.name, piece)
        return self.has_pending

    def on_slice_deleted(self, piece: EndpointSlice) -> bool:
        """A slice is gone; True if something is pending now."""
        if _is_followed(piece, self.catalogue.family):
            self._slice(piece.service_key, piece.metadata.name, None)
        return self.has_pending

    def _slice(self, key: str, name: str, piece: EndpointSlice | None) -> None:
        applied = self.slices.get(key) or ()
        wanted = self._pending_slices.get(key)
        if wanted is None:
            wanted = {each.metadata.name: each for each in applied}
        if piece is None:
            wanted.pop(name, None)
        else:
            wanted[name] = piece
        before = {each.metadata.name: each for each in applied}
        if wanted.keys() == before.keys() and all(_same_content(each, before[name]) for name, each in wanted.items()):
            self._pending_slices.pop(key, None)
        else:
            self._pending_slices[key] = wanted

    def endpoints(self, name: ServicePortName) -> tuple[EndpointInfo, ...]:
        """The endpoints of a Service port as of the last sync, each address and port once."""
        return self.endpoints_of(name.service_key).get(name, ())

    def endpoints_of(self, key: str) -> EndpointsByPort:
        """The endpoints of a Service as of the last sync, by port, each address and port once."""
        return self._read(key, self.slices.get(key) or ())

    def _read(self, key: str, slices: Slices) -> EndpointsByPort:
        if not slices:
            return {}
        found = self.catalogue.endpoints(key, slices)
        if len(slices) == 1:
            return found
        return {name: without_duplicates(endpoints, self.node_name) for name, endpoints in found.items()}

    def checkout(self) -> Changes:
        """Apply all that is pending and tell what it was."""
        stale: list[tuple[ServicePortName, str]] = []
        woken: list[ServicePortName] = []
        gone: list[ServicePortInfo] = []
        services, self._pending_services = self._pending_services, {}
        for key, ports in services.items():
            before = self.services.get(key) or {}
            gone += [info for name, info in before.items() if name.protocol == "UDP" and name not in ports]
            if ports:
                self.services[key] = ports
            else:
                del self.services[key]
        pieces, self._pending_slices = self._pending_slices, {}
        for key, wanted in pieces.items():
            before_endpoints = self.endpoints_of(key)
            if wanted:
                self.slices[key] = tuple(wanted[name] for name in sorted(wanted))
            else:
                del self.slices[key]
            _compare_udp(before_endpoints, self.endpoints_of(key), stale, woken)
        return Changes(tuple(services), tuple(pieces), tuple(stale), tuple(woken), tuple(gone))

    def health_check_node_ports(self) -> dict[str, int]:
        """The health check node port of each Service that has one, by `namespace/name`."""
        return {
            key: info.health_check_node_port
            for key, ports in self.services.items()
            for info in ports.values()
            if info.health_check_node_port
        }

    def local_ready_endpoints(self) -> dict[str, int]:
        """How many ready endpoint addresses of each Service are on this node; Services without any are left out."""
        counts = {}
        for key in self.slices:
            here = {
                endpoint.address
                for endpoints in self.endpoints_of(key).values()
                for endpoint in endpoints
                if endpoint.ready and endpoint.is_local(self.node_name)
            }
            if here:
                counts[key] = len(here)
        return counts


def _same_content(one: EndpointSlice, other: EndpointSlice) -> bool:
    return one is other or (one.endpoints == other.endpoints and one.ports == other.ports)


def _compare_udp(
    before: EndpointsByPort,
    after: EndpointsByPort,
    stale: list[tuple[ServicePortName, str]],
    woken: list[ServicePortName],
) -> None:
    """Add UDP endpoints that stopped serving, and UDP ports that got their first ready endpoint."""
    for name, endpoints in before.items():
        if name.protocol == "UDP":
            serving = {endpoint.text for endpoint in after.get(name, ()) if endpoint.serving}
            stale += [(name, each.text) for each in endpoints if each.serving and each.text not in serving]
    for name, endpoints in after.items():
        if name.protocol == "UDP" and any(each.ready for each in endpoints):
            if not any(each.ready for each in before.get(name, ())):
                woken.append(name)
