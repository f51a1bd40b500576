"""An ingress controller, as ingress-nginx is one: which Ingresses are its own, what it makes of them, and what it writes back.

Each pod of it watches for itself. A change asks for a sync, of which there are at most 0.3 a second; a sync that finds only other
endpoints hands them to the running workers, which look once a second; other rules are a reload. The first of the living pods
writes the addresses of its Service into the status of every Ingress, once a minute.

Sources: kubernetes/ingress-nginx internal/ingress/controller/{nginx,controller,endpointslices}.go, controller/store/store.go,
status/status.go, pkg/flags/flags.go (sync-rate-limit 0.3), rootfs/etc/nginx/lua/balancer.lua (BACKENDS_SYNC_INTERVAL 1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from svcsim.kube.api.endpoints import EndpointSlice
from svcsim.kube.api.ingress import Ingress, IngressClass
from svcsim.kube.api.pod import Pod
from svcsim.kube.api.service import Service
from svcsim.kube.client import Client
from svcsim.kube.events import EventRecorder
from svcsim.kube.informer import Informer
from svcsim.kube.ingress_annotations import is_canary, own_annotations
from svcsim.kube.ingress_rules import Backend, IngressRules, is_own, rules_of
from svcsim.kube.store import ApiError, Change, Event
from svcsim.linux.address import parse_address

COMPONENT = "nginx-ingress-controller"
Upstream = tuple[int, int]
"""Address and port of an endpoint."""
Backends = Mapping[Backend, tuple[Upstream, ...]]


@dataclass(frozen=True, slots=True)
class IngressSettings:
    """The flags of a controller: its class, by name and by what an IngressClass calls its controller, and its times.

    `publish_service` is the Service (`namespace/name`) whose addresses Ingresses show; empty: those of the controllers' nodes.
    """

    class_name: str
    controller: str
    without_class: bool
    publish_service: str
    sync_interval_ns: int
    backends_interval_ns: int
    reload_ns: int
    status_period_ns: int


class ProxyConfiguration(Protocol):
    """The proxy that a controller configures."""

    def reload(self, rules: IngressRules, backends: Backends) -> None:
        """Begin anew with other rules."""

    def set_backends(self, rules: IngressRules, backends: Backends) -> None:
        """Take other endpoints and weights."""


Lookup = Callable[[str], tuple[int, ...]]
"""The addresses that a name has; none if it has none."""


def upstreams_of(
    backend: Backend, service: Service | None, slices: Iterable[EndpointSlice], lookup: Lookup = lambda name: ()
) -> tuple[Upstream, ...]:
    """The ready endpoints of a Service's port, each once; none of a Service or port that is not there.

    With `service-upstream` its ClusterIP alone, if it has one; of an ExternalName what its name leads to (endpointslices.go,
    getEndpointsFromSlices; balancer.lua, resolve_external_names).
    """
    if service is None:
        return ()
    port = next((each for each in service.spec.ports if backend.port in (each.port, each.name) and each.protocol == "TCP"), None)
    if service.spec.type == "ExternalName":
        target = backend.port if port is None else port.target_port if isinstance(port.target_port, int) else port.port
        return tuple((address, target) for address in lookup(service.spec.external_name)) if isinstance(target, int) else ()
    if port is None:
        return ()
    if backend.by_service and service.spec.cluster_ip and not service.spec.is_headless:
        return ((parse_address(service.spec.cluster_ip), port.port),)
    found: dict[Upstream, None] = {}
    for piece in slices:
        number = next((each.port for each in piece.ports if (each.name or "") == port.name and each.port), None)
        if number is None or piece.address_type == "FQDN":
            continue
        for endpoint in piece.endpoints:
            if endpoint.conditions.ready is not False and endpoint.addresses:
                found[(parse_address(endpoint.addresses[0]), number)] = None
    return tuple(found)


def published_addresses(service: Service | None) -> tuple[str, ...]:
    """What Ingresses show as their address, by the Service before the controllers (status.go, statusAddressFromService)."""
    if service is None:
        return ()
    spec = service.spec
    if spec.type == "LoadBalancer":
        return (*(point.ip or point.hostname for point in service.status.load_balancer.ingress), *spec.external_ips)
    if spec.type == "NodePort" and spec.external_ips:
        return spec.external_ips
    if spec.type == "ExternalName":
        return (spec.external_name,)
    return (spec.cluster_ip,) if spec.cluster_ip and not spec.is_headless else ()


def with_addresses(ingress: Ingress, addresses: Iterable[str]) -> Ingress:
    """The Ingress with these addresses, in order, in its status."""
    points = [{"ip": each} if each[:1].isdigit() or ":" in each else {"hostname": each} for each in sorted(addresses)]
    return ingress.model_copy(update={"status": {"loadBalancer": {"ingress": points} if points else {}}})


class IngressController:
    """The controller's process in one pod."""

    __slots__ = (
        "_client", "_informer", "_is_leader", "_last_sync_ns", "_lookup", "_node_addresses", "_phase_ns", "_pod", "_proxy",
        "_recorder", "_rules", "_rules_of", "_sync_waits", "_upstreams", "_weights", "running", "settings",
    )

    def __init__(
        self, client: Client, settings: IngressSettings, pod: Pod, proxy: ProxyConfiguration, phase: float,
        is_leader: Callable[[IngressController], bool], node_addresses: Callable[[], tuple[str, ...]],
        lookup: Lookup = lambda name: (),
    ) -> None:
        """`phase`: where in their second the proxy's workers look for endpoints, as a share of it."""
        self._lookup = lookup
        self._client = client
        self.settings = settings
        self._pod = pod
        self._proxy = proxy
        self._is_leader = is_leader
        self._node_addresses = node_addresses
        self._phase_ns = int(phase * settings.backends_interval_ns)
        self._recorder = EventRecorder(client, COMPONENT)
        self._informer = Informer(client, (Ingress, IngressClass, Service, EndpointSlice))
        self._informer.on(Ingress, self._ingress_changed)
        for kind in (IngressClass, Service, EndpointSlice):
            self._informer.on(kind, self._changed)
        self._sync_waits = False
        self._last_sync_ns = -settings.sync_interval_ns
        self._rules_of: tuple[tuple[str, object], ...] = ()
        self._weights: tuple[tuple[str, object], ...] = ()
        self._rules = IngressRules(())
        self._upstreams: Backends = {}
        self.running = True

    def start(self) -> None:
        """The process has listed what there is, and its proxy serves it."""
        self._informer.list_initially()
        own = self.own_ingresses()
        rules = rules_of(own)
        self._rules_of, self._weights, self._rules, self._upstreams = _written(own), _weights(own), rules, self._backends(rules)
        self._proxy.reload(rules, self._upstreams)
        self._client.clock.after(self.settings.status_period_ns, self._status_is_due)

    def stop(self) -> None:
        """The process is gone."""
        self.running = False
        self._client.leave()

    def own_ingresses(self) -> list[Ingress]:
        """The Ingresses that it acts on, as it knows them."""
        return [each for each in self._informer.each(Ingress) if self._is_own(each)]

    def _is_own(self, ingress: Ingress) -> bool:
        classes = {each.metadata.name: each for each in self._informer.each(IngressClass)}
        settings = self.settings
        return is_own(ingress, classes, settings.class_name, settings.controller, without_class=settings.without_class)

    # ---- what changes ------------------------------------------------------------------------------------------------

    def _ingress_changed(self, event: Event) -> None:
        ingress, old = event.obj, event.old
        assert isinstance(ingress, Ingress)
        same = isinstance(old, Ingress) and (old.spec, old.metadata.annotations) == (ingress.spec, ingress.metadata.annotations)
        if event.change is not Change.DELETED and not same:
            if self.running and self._is_own(ingress):
                self._recorder.normal(ingress, "Sync", "Scheduled for sync")
        self._changed(event)

    def _changed(self, _: Event) -> None:
        if self._sync_waits or not self.running:
            return
        self._sync_waits = True
        now = self._client.clock.now
        self._client.clock.after(max(0, self._last_sync_ns + self.settings.sync_interval_ns - now), self._sync)

    def _sync(self) -> None:
        """Compare what there is with what the proxy has."""
        self._sync_waits = False
        if not self.running:
            return
        clock = self._client.clock
        self._last_sync_ns = clock.now
        own = self.own_ingresses()
        written, weights, rules = _written(own), _weights(own), rules_of(own)
        backends = self._backends(rules)
        if written != self._rules_of:
            self._rules_of, self._weights, self._rules, self._upstreams = written, weights, rules, backends
            self._recorder.normal(self._pod, "RELOAD", "NGINX reload triggered due to a change in configuration")
            clock.after(self.settings.reload_ns, lambda: self._reload(written))
        elif backends != self._upstreams or weights != self._weights:
            self._weights, self._rules, self._upstreams = weights, rules, backends
            wait_ns = (self._phase_ns - clock.now) % self.settings.backends_interval_ns
            clock.after(wait_ns, self._workers_look)

    def _reload(self, written: tuple[tuple[str, object], ...]) -> None:
        if self.running and written == self._rules_of:
            self._proxy.reload(self._rules, self._upstreams)

    def _workers_look(self) -> None:
        if self.running:
            self._proxy.set_backends(self._rules, self._upstreams)

    def _backends(self, rules: IngressRules) -> Backends:
        informer, found = self._informer, {}
        for backend in rules.backends:
            key = f"{backend.namespace}/{backend.service}"
            found[backend] = upstreams_of(backend, informer.get(Service, key), informer.slices_of(key), self._lookup)
        return found

    # ---- status ------------------------------------------------------------------------------------------------------

    def addresses(self) -> tuple[str, ...]:
        """What it publishes: the addresses of its Service, without one those of the nodes that it runs on."""
        place = self.settings.publish_service
        return published_addresses(self._informer.get(Service, place)) if place else self._node_addresses()

    def _status_is_due(self) -> None:
        if not self.running:
            return
        self._client.clock.after(self.settings.status_period_ns, self._status_is_due)
        if self._is_leader(self) and self._client.reachable:
            addresses = self.addresses()
            for ingress in self.own_ingresses():
                try:
                    self._client.update_status(with_addresses(ingress, addresses))
                except ApiError:
                    continue  # it is gone, which the watch will tell


def _written(ingresses: Iterable[Ingress]) -> tuple[tuple[str, object], ...]:
    """What makes two configurations differ by more than endpoints and weights."""
    found = ((each, each.metadata.annotations) for each in ingresses)
    return tuple((each.metadata.key, (each.spec, () if is_canary(own) else own_annotations(own))) for each, own in found)


def _weights(ingresses: Iterable[Ingress]) -> tuple[tuple[str, object], ...]:
    """What the workers take over without a reload: how much canaries get, and what they are hashed by."""
    found = (each for each in ingresses if is_canary(each.metadata.annotations))
    return tuple((each.metadata.key, own_annotations(each.metadata.annotations)) for each in found)
