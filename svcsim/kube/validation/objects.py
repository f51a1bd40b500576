"""What the API server would refuse of other objects than Services, as far as it bears on traffic.

Sources: kubernetes pkg/apis/apps/validation/validation.go (selector, replicas), pkg/apis/core/validation/validation.go
(ValidatePodTemplateSpec, ValidateEndpointsSpecificAddress), pkg/apis/discovery/validation/validation.go (validateEndpoints),
pkg/apis/networking/validation/validation.go (validateHTTPIngressPath).
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from svcsim.kube.api.endpoints import Endpoints, EndpointSlice
from svcsim.kube.api.ingress import Ingress
from svcsim.kube.api.pod import Pod, PodSpec
from svcsim.kube.api.workloads import DaemonSet, Deployment, ReplicaSet, ReplicationController, StatefulSet
from svcsim.kube.kinds import KubeObject
from svcsim.kube.validation import names
from svcsim.kube.validation.field_errors import FieldError, Path, invalid, required

_SPEC = Path("spec")
_PORTS = range(1, 65536)
MOST_PODS = 150_000
"""Pods of a controller; what Kubernetes supports in a whole cluster (documentation, Considerations for large clusters)."""


def object_errors(obj: KubeObject) -> list[FieldError]:
    """The errors of an object as a client sends it; of a kind that is not looked at here none."""
    if isinstance(obj, DaemonSet | Deployment | ReplicaSet | ReplicationController | StatefulSet):
        return [*_named(obj), *_controller(obj)]
    if isinstance(obj, Pod):
        return [*_named(obj), *_pod(obj.spec, _SPEC)]
    if isinstance(obj, Endpoints):
        return list(_endpoints(obj))
    if isinstance(obj, EndpointSlice):
        return list(_slice(obj))
    return list(_ingress(obj)) if isinstance(obj, Ingress) else []


def _named(obj: KubeObject) -> Iterator[FieldError]:
    name = obj.metadata.name or names.generated(obj.metadata.generate_name)
    field = Path("metadata").child("name" if obj.metadata.name else "generateName")
    return (invalid(field, problem) for problem in names.dns1123_subdomain(name))


def _controller(obj: DaemonSet | Deployment | ReplicaSet | ReplicationController | StatefulSet) -> Iterator[FieldError]:
    spec = obj.spec
    if not isinstance(obj, DaemonSet) and obj.replicas < 0:
        yield invalid(_SPEC.child("replicas"), f"{obj.replicas} must be greater than or equal to 0")
    if not isinstance(obj, DaemonSet) and obj.replicas > MOST_PODS:
        yield invalid(_SPEC.child("replicas"), f"{obj.replicas} pods are more than the limit of {MOST_PODS}")
    if not spec.pod_selector.matches(spec.template.metadata.labels):
        path = _SPEC.child("template").child("metadata").child("labels")
        yield invalid(path, "the selector does not match the labels of the template")
    yield from _pod(spec.template.spec, _SPEC.child("template").child("spec"))


def _pod(spec: PodSpec, path: Path) -> Iterator[FieldError]:
    if not spec.containers:
        yield required(path.child("containers"), "a pod has at least one container")
    for i, container in enumerate(spec.containers):
        for j, port in enumerate(container.ports):
            if port.container_port not in _PORTS:
                at = path.child("containers").at(i).child("ports").at(j).child("containerPort")
                yield invalid(at, f"{port.container_port} must be between 1 and 65535")


def _address(text: str, path: Path, family: int | None = None) -> Iterator[FieldError]:
    try:
        address = ip_address(text)
    except ValueError:
        yield invalid(path, f"{text!r} is not an IP address")
        return
    if family is not None and address.version != family:
        yield invalid(path, f"{text} is not an IPv{family} address")
    for bad, kind in (
        (address.is_unspecified, "the unspecified address"), (address.is_loopback, "in the loopback range"),
        (address.is_link_local, "in the link-local range"), (address.is_multicast, "a multicast address"),
    ):
        if bad:
            yield invalid(path, f"{text} may not be {kind}")


def _endpoints(obj: Endpoints) -> Iterator[FieldError]:
    for i, subset in enumerate(obj.subsets):
        path = Path("subsets").at(i)
        for field, addresses in (("addresses", subset.addresses), ("notReadyAddresses", subset.not_ready_addresses)):
            for j, address in enumerate(addresses):
                yield from _address(address.ip, path.child(field).at(j).child("ip"))
        for j, port in enumerate(subset.ports):
            if port.port not in _PORTS:
                yield invalid(path.child("ports").at(j).child("port"), f"{port.port} must be between 1 and 65535")
            if len(subset.ports) > 1 and not port.name:
                yield required(path.child("ports").at(j).child("name"), "each of several ports needs a name")


def _slice(obj: EndpointSlice) -> Iterator[FieldError]:
    for i, endpoint in enumerate(obj.endpoints):
        path = Path("endpoints").at(i).child("addresses")
        if not endpoint.addresses:
            yield required(path, "an endpoint has at least one address")
        for j, address in enumerate(endpoint.addresses):
            if obj.address_type != "FQDN":
                yield from _address(address, path.at(j), 6 if obj.address_type == "IPv6" else 4)
    for i, port in enumerate(obj.ports):
        if port.port is not None and port.port not in _PORTS:
            yield invalid(Path("ports").at(i).child("port"), f"{port.port} must be between 1 and 65535")


def _ingress(obj: Ingress) -> Iterator[FieldError]:
    for i, rule in enumerate(obj.spec.rules):
        for j, path in enumerate(rule.http.paths if rule.http is not None else ()):
            if path.path_type != "ImplementationSpecific" and not path.path.startswith("/"):
                at = _SPEC.child("rules").at(i).child("http").child("paths").at(j).child("path")
                yield invalid(at, f"{path.path!r} must be an absolute path")
