"""The API server's storage of Services: defaults, address families, cluster IPs and node ports, on creation and on update.

Source: pkg/registry/core/service/storage/{storage,alloc}.go and pkg/registry/core/service/strategy.go
(dropTypeDependentFields, patchAllocatedValues).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from svcsim.engine.streams import Stream
from svcsim.kube.allocators import NODE_PORT_FIRST, NODE_PORT_LAST, AddressRange, AllocationError, PortRange
from svcsim.kube.api.service import Service, ServicePort, ServiceSpec
from svcsim.kube.defaulting import default_service
from svcsim.kube.kinds import KubeObject
from svcsim.kube.store import InvalidError
from svcsim.kube.validation.manifests import service_update_errors
from svcsim.linux.address import Prefix, format_address, is_ipv6, parse_address

Family = Literal["IPv4", "IPv6"]
HEADLESS = "None"


def family_of(address: str) -> Family:
    """The family of an address in text; ValueError if it is none."""
    return "IPv6" if is_ipv6(parse_address(address)) else "IPv4"


def _wants_node_ports(spec: ServiceSpec) -> bool:
    if spec.type == "LoadBalancer":
        return spec.allocate_load_balancer_node_ports is not False
    return spec.type == "NodePort"


def _has_node_ports(spec: ServiceSpec) -> bool:
    return spec.type in ("NodePort", "LoadBalancer")


def _wants_health_check(spec: ServiceSpec) -> bool:
    return spec.type == "LoadBalancer" and spec.external_traffic_policy == "Local"


class ServiceRegistry:
    """The allocators of a cluster, and how Services pass through them; an `Admission` of the store.

    `cidrs` are the service CIDRs, one a family, the default family first.
    """

    __slots__ = ("_addresses", "_families", "_foreign", "_ports")

    def __init__(
        self, cidrs: Sequence[str], seed: int = 1, node_ports: tuple[int, int] = (NODE_PORT_FIRST, NODE_PORT_LAST)
    ) -> None:
        prefixes = [Prefix.parse(cidr) for cidr in cidrs]
        self._families: tuple[Family, ...] = tuple("IPv6" if is_ipv6(prefix.base) else "IPv4" for prefix in prefixes)
        self._addresses = {
            family: AddressRange(prefix, Stream(seed, f"kube/cluster-ips/{family}"))
            for family, prefix in zip(self._families, prefixes, strict=True)
        }
        self._foreign: set[str] = set()
        self._ports = PortRange(Stream(seed, "kube/node-ports"), *node_ports)

    def range_of(self, family: Family) -> AddressRange:
        """The cluster IPs of a family; KeyError if the cluster has none."""
        return self._addresses[family]

    def take_over(self, service: Service) -> None:
        """Let a Service of an imported cluster keep its addresses, also where that cluster's ranges were others."""
        self._foreign.update(
            address
            for address in _addresses(service.spec)
            if not any(parse_address(address) in pool.prefix for pool in self._addresses.values())
        )

    def create(self, obj: KubeObject) -> KubeObject:
        """A new Service with all that the API server fills in; InvalidError when it asks for what it cannot have."""
        assert isinstance(obj, Service)
        service = default_service(obj)
        undo: list[Callable[[], None]] = []
        try:
            spec = self._with_addresses(service, service.spec, undo)
            spec = self._with_node_ports(service, spec, undo)
        except AllocationError as error:
            for action in undo:
                action()
            raise InvalidError(f"Service {service.metadata.key}: {error}") from None
        return service.model_copy(update={"spec": spec})

    def update(self, old: KubeObject, new: KubeObject) -> KubeObject:
        """A changed Service: what it leaves out is kept, what its new type has no use for goes, what it lacks is allocated."""
        assert isinstance(old, Service)
        assert isinstance(new, Service)
        spec = _patched(old.spec, _without_leftovers(old.spec, new.spec))
        service = default_service(new.model_copy(update={"spec": spec}))
        undo: list[Callable[[], None]] = []
        try:
            spec = self._with_addresses(service, service.spec, undo, old.spec)
            spec = self._with_node_ports(service, spec, undo, old.spec)
            stored = service.model_copy(update={"spec": spec})
            if errors := service_update_errors(stored, old):
                raise AllocationError("; ".join(map(str, errors)))
        except AllocationError as error:
            for action in undo:
                action()
            raise InvalidError(f"Service {service.metadata.key}: {error}") from None
        for address in _addresses(old.spec):
            if address not in _addresses(spec):
                self._release_address(address)
        for port in _ports(old.spec) - _ports(spec):
            self._ports.release(port)
        return stored

    def delete(self, obj: KubeObject) -> None:
        """Give back what a deleted Service had."""
        assert isinstance(obj, Service)
        for address in _addresses(obj.spec):
            self._release_address(address)
        for port in _ports(obj.spec):
            self._ports.release(port)

    def _release_address(self, address: str) -> None:
        if address not in self._foreign:
            self._addresses[family_of(address)].release(parse_address(address))

    def _with_addresses(
        self, service: Service, spec: ServiceSpec, undo: list[Callable[[], None]], old: ServiceSpec | None = None
    ) -> ServiceSpec:
        if spec.type == "ExternalName":
            return spec
        given = spec.cluster_ips or ((spec.cluster_ip,) if spec.cluster_ip else ())
        headless = bool(given) and given[0] == HEADLESS
        families, policy = self._wanted_families(spec, () if headless else given, headless=headless)
        changes: dict[str, Any] = {"ip_families": families, "ip_family_policy": policy}
        if headless:
            return spec.model_copy(update={**changes, "cluster_ip": HEADLESS, "cluster_ips": (HEADLESS,)})
        held = _addresses(old) if old is not None else ()
        addresses = []
        for index, family in enumerate(families):
            pool = self._addresses[family]
            if index < len(given):
                text = given[index]
                if text not in held and text not in self._foreign:
                    address = parse_address(text)
                    try:
                        pool.reserve(address)
                    except AllocationError as error:
                        raise AllocationError(f"spec.clusterIPs: {text}: {error}") from None
                    undo.append(lambda pool=pool, address=address: pool.release(address))  # type: ignore[misc]
            else:
                address = pool.allocate(service.metadata.key)
                undo.append(lambda pool=pool, address=address: pool.release(address))  # type: ignore[misc]
                text = format_address(address)
            addresses.append(text)
        return spec.model_copy(update={**changes, "cluster_ip": addresses[0], "cluster_ips": tuple(addresses)})

    def _wanted_families(
        self, spec: ServiceSpec, given: Sequence[str], *, headless: bool
    ) -> tuple[tuple[Family, ...], Literal["SingleStack", "PreferDualStack", "RequireDualStack"]]:
        policy = spec.ip_family_policy
        loose = headless and not spec.selector
        if policy is None:
            dual = len(spec.ip_families) == 2 or len(given) == 2 or (loose and not spec.ip_families)
            policy = "RequireDualStack" if dual else "SingleStack"
        families: list[Family] = list(spec.ip_families)
        for index, address in enumerate(given):
            family = family_of(address)
            if index < len(families) and families[index] != family:
                raise AllocationError(f"spec.clusterIPs[{index}]: {address} is not of family {families[index]}")
            if index >= len(families):
                families.append(family)
        if not families:
            families.append(self._families[0])
        if len(families) < 2 and policy != "SingleStack" and (loose or len(self._families) == 2):
            families.append("IPv4" if families[0] == "IPv6" else "IPv6")
        if not loose:
            for family in families:
                if family not in self._addresses:
                    raise AllocationError(f"spec.ipFamilies: {family} is not configured on this cluster")
            if policy == "RequireDualStack" and len(self._families) < 2:
                raise AllocationError("spec.ipFamilyPolicy: this cluster is not configured for dual-stack services")
        return tuple(families), policy

    def _with_node_ports(
        self, service: Service, spec: ServiceSpec, undo: list[Callable[[], None]], old: ServiceSpec | None = None
    ) -> ServiceSpec:
        held = _ports(old) if old is not None else set()
        taken = set(held)
        ports = list(spec.ports)
        if _has_node_ports(spec):
            self._number_ports(service.metadata.key, ports, taken, undo, may_allocate=_wants_node_ports(spec))
        changes: dict[str, Any] = {"ports": tuple(ports)}
        if not _wants_health_check(spec):
            if old is not None and _wants_health_check(old):
                changes["health_check_node_port"] = 0
        elif spec.health_check_node_port:
            self._reserve_port(spec.health_check_node_port, taken, undo)
        else:
            changes["health_check_node_port"] = self._allocate_port(f"{service.metadata.key}/health-check", undo)
        return spec.model_copy(update=changes)

    def _number_ports(
        self, who: str, ports: list[ServicePort], taken: set[int], undo: list[Callable[[], None]], *, may_allocate: bool
    ) -> None:
        by_number: dict[int, int] = {}
        for index, port in enumerate(ports):
            node_port = port.node_port
            if not node_port:
                if not may_allocate:
                    continue
                asked = by_number.get(port.port) or next(
                    (later.node_port for later in ports[index + 1 :] if later.port == port.port and later.node_port), 0
                )
                node_port = asked or self._allocate_port(f"{who}/{port.port}", undo)
                if not asked:
                    taken.add(node_port)
                ports[index] = port.model_copy(update={"node_port": node_port})
            self._reserve_port(node_port, taken, undo)
            by_number.setdefault(port.port, node_port)

    def _allocate_port(self, who: str, undo: list[Callable[[], None]]) -> int:
        port = self._ports.allocate(who)
        undo.append(lambda: self._ports.release(port))
        return port

    def _reserve_port(self, port: int, taken: set[int], undo: list[Callable[[], None]]) -> None:
        if port in taken:
            return
        self._ports.reserve(port)
        taken.add(port)
        undo.append(lambda: self._ports.release(port))


def _addresses(spec: ServiceSpec) -> tuple[str, ...]:
    if spec.type == "ExternalName":
        return ()
    return tuple(address for address in spec.cluster_ips if address and address != HEADLESS)


def _ports(spec: ServiceSpec) -> set[int]:
    ports = {port.node_port for port in spec.ports if port.node_port} if _has_node_ports(spec) else set()
    if _wants_health_check(spec) and spec.health_check_node_port:
        ports.add(spec.health_check_node_port)
    return ports


def _is_external(spec: ServiceSpec) -> bool:
    return _has_node_ports(spec) or (spec.type == "ClusterIP" and bool(spec.external_ips))


def _without_leftovers(old: ServiceSpec, new: ServiceSpec) -> ServiceSpec:
    """Fields that only the old type used, where the client left them as they were, are cleared (dropTypeDependentFields)."""
    changes: dict[str, Any] = {}
    if old.type != "ExternalName" and new.type == "ExternalName":
        if new.cluster_ip == old.cluster_ip and new.cluster_ips == old.cluster_ips:
            changes |= {"cluster_ip": None, "cluster_ips": ()}
        if new.ip_families == old.ip_families:
            changes["ip_families"] = ()
        if new.ip_family_policy == old.ip_family_policy:
            changes["ip_family_policy"] = None
    if _has_node_ports(old) and not _has_node_ports(new):
        if [port.node_port for port in old.ports] == [port.node_port for port in new.ports]:
            changes["ports"] = tuple(port.model_copy(update={"node_port": 0}) for port in new.ports)
    if _wants_health_check(old) and not _wants_health_check(new):
        if new.health_check_node_port == old.health_check_node_port:
            changes["health_check_node_port"] = 0
    if old.type == "LoadBalancer" != new.type:
        for field in ("allocate_load_balancer_node_ports", "load_balancer_class"):
            if getattr(new, field) == getattr(old, field):
                changes[field] = None
    if _is_external(old) and not _is_external(new) and new.external_traffic_policy == old.external_traffic_policy:
        changes["external_traffic_policy"] = None
    if len(old.ip_families) == 2 and new.ip_family_policy == "SingleStack" and new.type != "ExternalName":
        if new.ip_families in ((), old.ip_families) and new.cluster_ips in ((), old.cluster_ips):
            changes |= {"ip_families": old.ip_families[:1], "cluster_ips": old.cluster_ips[:1], "cluster_ip": old.cluster_ip}
    return new.model_copy(update=changes)


def _patched(old: ServiceSpec, new: ServiceSpec) -> ServiceSpec:
    """What the client left out and the API server had filled in is kept (patchAllocatedValues)."""
    changes: dict[str, Any] = {}
    if old.type != "ExternalName" and new.type != "ExternalName":
        if not new.cluster_ip and not new.cluster_ips:
            changes |= {"cluster_ip": old.cluster_ip, "cluster_ips": old.cluster_ips}
            if not new.ip_families and new.ip_family_policy in (None, old.ip_family_policy):
                changes["ip_families"] = old.ip_families
        elif not new.cluster_ips and new.cluster_ip == old.cluster_ip:
            changes["cluster_ips"] = old.cluster_ips
        if new.ip_family_policy is None and len(new.ip_families) < 2:
            changes["ip_family_policy"] = old.ip_family_policy
    if _has_node_ports(old) and _has_node_ports(new):
        known = {(port.protocol, port.port): port.node_port for port in old.ports}
        used = {port.node_port for port in new.ports if port.node_port}
        ports = []
        for port in new.ports:
            kept = known.get((port.protocol, port.port), 0)
            if not port.node_port and kept and kept not in used:
                port = port.model_copy(update={"node_port": kept})
            ports.append(port)
        changes["ports"] = tuple(ports)
    if _wants_health_check(old) and _wants_health_check(new) and not new.health_check_node_port:
        changes["health_check_node_port"] = old.health_check_node_port
    return new.model_copy(update=changes)
