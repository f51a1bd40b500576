"""Which pods stand behind a Service, at which ports, and what an endpoint says about one of them.

Sources: pkg/controller/util/endpoint/controller_utils.go, staging/src/k8s.io/endpointslice/utils.go,
pkg/api/v1/pod/util.go (FindPort).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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


def address_types(service: Service) -> tuple[Literal["IPv4", "IPv6"], ...]:
    """The families that a Service has slices of, IPv4 and IPv6 for a headless one that does not say."""
    if service.spec.ip_families:
        return service.spec.ip_families
    if service.spec.cluster_ip and not service.spec.is_headless:
        return ("IPv6",) if is_ipv6(parse_address(service.spec.cluster_ip)) else ("IPv4",)
    return ("IPv4", "IPv6")


def _of_family(pod: Pod, family: str) -> tuple[str, ...]:
    parsed = [parse_address(text) for text in pod.addresses]
    return tuple(format_address(address) for address in parsed if is_ipv6(address) == (family == "IPv6"))


def _reference(pod: Pod) -> ObjectReference:
    return ObjectReference(kind="Pod", namespace=pod.metadata.namespace, name=pod.metadata.name, uid=pod.metadata.uid)


def _hostname(pod: Pod, service: Service) -> str:
    own = pod.spec.hostname and pod.spec.subdomain == service.metadata.name
    return pod.spec.hostname if own and pod.metadata.namespace == service.metadata.namespace else ""


def endpoint_of(pod: Pod, service: Service, family: str, zone: str) -> Endpoint | None:
    """The endpoint of a slice; None when the pod has no address of that family."""
    addresses = _of_family(pod, family)
    if not addresses:
        return None
    serving = pod.is_ready
    terminating = pod.is_terminating
    return Endpoint(
        addresses=addresses,
        conditions=EndpointConditions(
            ready=service.spec.publish_not_ready_addresses or (serving and not terminating),
            serving=serving,
            terminating=terminating,
        ),
        hostname=_hostname(pod, service) or None,
        target_ref=_reference(pod),
        node_name=pod.spec.node_name or None,
        zone=zone or None,
    )


def endpoint_address_of(pod: Pod, service: Service) -> EndpointAddress | None:
    """The address of an Endpoints object, of the Service's first family; None when the pod has none of it."""
    addresses = _of_family(pod, address_types(service)[0])
    if not addresses:
        return None
    return EndpointAddress(
        ip=addresses[0], hostname=_hostname(pod, service), node_name=pod.spec.node_name or None, target_ref=_reference(pod)
    )


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
