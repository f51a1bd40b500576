"""Which pods stand behind a Service, at which ports, and what an endpoint says about one of them.

Sources: pkg/controller/util/endpoint/controller_utils.go, staging/src/k8s.io/endpointslice/utils.go,
pkg/api/v1/pod/util.go (FindPort).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Literal

from svcsim.kube.api.endpoints import (
    Endpoint,
    EndpointAddress,
    EndpointConditions,
    EndpointPort,
    EndpointsPort,
    ObjectReference,
)
from svcsim.kube.api.pod import Pod
from svcsim.kube.api.service import Service, ServicePort
from svcsim.kube.informer import Informer
from svcsim.kube.store import Change, Event
from svcsim.linux.address import format_address, is_ipv6, parse_address

HEADLESS_LABEL = "service.kubernetes.io/headless"


def selects(service: Service, labels: Mapping[str, str]) -> bool:
    """Whether the controllers keep this pod as an endpoint of the Service; one without selector selects nothing."""
    selector = service.spec.selector
    return bool(selector) and all(labels.get(key) == value for key, value in selector.items())


def is_managed(service: Service) -> bool:
    """Whether the controllers keep endpoints of the Service at all."""
    return bool(service.spec.selector) and service.spec.type != "ExternalName"


def find_port(pod: Pod, port: ServicePort) -> int | None:
    """The number that a Service port leads to on a pod; None when the pod has no port of the target's name and protocol."""
    target = port.target_port if port.target_port not in (None, "", 0) else port.port
    if isinstance(target, int):
        return target
    sidecars = [container for container in pod.spec.init_containers if container.restart_policy == "Always"]
    for container in (*pod.spec.containers, *sidecars):
        for announced in container.ports:
            if announced.name == target and announced.protocol == port.protocol:
                return announced.container_port
    return int(target) if isinstance(target, str) and target.isdecimal() else None


def is_candidate(pod: Pod, *, include_terminating: bool) -> bool:
    """Whether a pod can be an endpoint: it has an address, has not ended, and (unless included) is not terminating."""
    if pod.is_finished or not pod.addresses:
        return False
    return include_terminating or not pod.is_terminating


def changed_for_endpoints(old: Pod, new: Pod) -> bool:
    """Whether a change of a pod can change endpoints (podEndpointsChanged)."""
    return (
        old.is_terminating != new.is_terminating
        or old.is_ready != new.is_ready
        or old.is_finished != new.is_finished
        or old.addresses != new.addresses
        or old.spec.node_name != new.spec.node_name
        or old.metadata.labels != new.metadata.labels
    )


def services_to_sync(informer: Informer, event: Event) -> list[str]:
    """Keys of the Services whose endpoints a change of a pod may change (endpointsliceutil.GetServicesToUpdateOnPodChange)."""
    pod, old = event.obj, event.old
    assert isinstance(pod, Pod)
    keys = informer.services_selecting(pod)
    if event.change is Change.MODIFIED and isinstance(old, Pod):
        if not changed_for_endpoints(old, pod):
            return []
        if old.metadata.labels != pod.metadata.labels:
            keys += [key for key in informer.services_selecting(old) if key not in keys]
    return keys


def address_types(service: Service) -> tuple[Literal["IPv4", "IPv6"], ...]:
    """The families that a Service has slices of, IPv4 and IPv6 for a headless one that does not say."""
    if service.spec.ip_families:
        return service.spec.ip_families
    if service.spec.cluster_ip and not service.spec.is_headless:
        return ("IPv6",) if is_ipv6(parse_address(service.spec.cluster_ip)) else ("IPv4",)
    return ("IPv4", "IPv6")


@lru_cache(maxsize=1 << 16)
def _canonical(text: str) -> tuple[str, str]:
    """(family, canonical text) of an address."""
    address = parse_address(text)
    return ("IPv6" if is_ipv6(address) else "IPv4"), format_address(address)


def _of_family(pod: Pod, family: str) -> tuple[str, ...]:
    return tuple(canonical for own, canonical in map(_canonical, pod.addresses) if own == family)


def _hostname(pod: Pod, service: Service) -> str:
    own = pod.spec.hostname and pod.spec.subdomain == service.metadata.name
    return pod.spec.hostname if own and pod.metadata.namespace == service.metadata.namespace else ""


# A pod is an endpoint of many Services, and looked at again with each change of another pod: what is made of it is shared.


@lru_cache(maxsize=1 << 16)
def _endpoint(
    namespace: str, name: str, uid: str, addresses: tuple[str, ...], hostname: str, node: str, zone: str, ready: bool,
    serving: bool, terminating: bool,
) -> Endpoint:
    return Endpoint(
        addresses=addresses,
        conditions=EndpointConditions(ready=ready, serving=serving, terminating=terminating),
        hostname=hostname or None,
        target_ref=ObjectReference(kind="Pod", namespace=namespace, name=name, uid=uid),
        node_name=node or None,
        zone=zone or None,
    )


@lru_cache(maxsize=1 << 16)
def _address(namespace: str, name: str, uid: str, address: str, hostname: str, node: str) -> EndpointAddress:
    reference = ObjectReference(kind="Pod", namespace=namespace, name=name, uid=uid)
    return EndpointAddress(ip=address, hostname=hostname, node_name=node or None, target_ref=reference)


def endpoint_of(pod: Pod, service: Service, family: str, zone: str) -> Endpoint | None:
    """The endpoint of a slice; None when the pod has no address of that family."""
    addresses = _of_family(pod, family)
    if not addresses:
        return None
    metadata, serving, terminating = pod.metadata, pod.is_ready, pod.is_terminating
    ready = service.spec.publish_not_ready_addresses or (serving and not terminating)
    return _endpoint(
        metadata.namespace, metadata.name, metadata.uid, addresses, _hostname(pod, service), pod.spec.node_name, zone, ready,
        serving, terminating,
    )


def endpoint_address_of(pod: Pod, service: Service, family: str = "") -> EndpointAddress | None:
    """The address of an Endpoints object, of the given family or the Service's first; None when the pod has none of it."""
    addresses = _of_family(pod, family or address_types(service)[0])
    if not addresses:
        return None
    metadata = pod.metadata
    return _address(
        metadata.namespace, metadata.name, metadata.uid, addresses[0], _hostname(pod, service), pod.spec.node_name
    )


def same_for_all_pods(service: Service) -> bool:
    """Whether no Service port has a named target: then ports are the same for every pod."""
    return not any(isinstance(port.target_port, str) and port.target_port for port in service.spec.ports)


def slice_ports(service: Service, pod: Pod) -> tuple[EndpointPort, ...]:
    """The ports of the slice that a pod belongs to; a Service port that the pod does not have is left out."""
    found = ((port, find_port(pod, port)) for port in service.spec.ports)
    return tuple(
        EndpointPort(name=port.name, protocol=port.protocol, port=number, app_protocol=port.app_protocol)
        for port, number in found
        if number is not None
    )


def subset_ports(service: Service, pod: Pod) -> tuple[EndpointsPort, ...]:
    """The ports of the Endpoints subset that a pod belongs to."""
    found = ((port, find_port(pod, port)) for port in service.spec.ports)
    return tuple(
        EndpointsPort(name=port.name, protocol=port.protocol, port=number, app_protocol=port.app_protocol)
        for port, number in found
        if number is not None
    )


def service_labels(labels: Mapping[str, str], service: Service, reserved: Iterable[str] = ()) -> dict[str, str]:
    """A Service's labels as its endpoints carry them, with the mark of one without a virtual IP."""
    kept = {key: value for key, value in labels.items() if key not in {*reserved, HEADLESS_LABEL}}
    if service.spec.cluster_ip in (None, "", "None"):
        kept[HEADLESS_LABEL] = ""
    return kept
