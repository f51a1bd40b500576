"""What the API server sends: each change of a Service, its Endpoints or a slice goes whole to everyone who watches.

Sizes are those of the objects as the API server encodes them for its own components, in protobuf; JSON is what kubectl and
others get. Fields that only an API server writes (managedFields) are left out of both, and so is the framing of a watch event,
some 40 bytes. Source of the encoding: staging/src/k8s.io/api core/v1 and discovery/v1 generated.pb.go: a string or number that
is no pointer is written even when it is empty.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from svcsim.kube.api.base import ObjectMeta
from svcsim.kube.api.endpoints import Endpoint, EndpointAddress, Endpoints, EndpointSlice, ObjectReference
from svcsim.kube.api.service import Service
from svcsim.kube.client import Switchboard
from svcsim.kube.store import Event, Store
from svcsim.kube.wire import manifest_of

Published = Service | Endpoints | EndpointSlice
RESOURCES = {"Service": "services", "Endpoints": "endpoints", "EndpointSlice": "endpointslices"}


def json_bytes(obj: Published) -> int:
    """The size of an object as compact JSON."""
    return len(json.dumps(manifest_of(obj), separators=(",", ":")).encode())


def protobuf_bytes(obj: Published) -> int:
    """The size of an object in protobuf, with the envelope in which the API server stores and sends it."""
    if isinstance(obj, Endpoints):
        body = _message(_metadata(obj.metadata)) + sum(
            _message(
                sum(_message(_address(each)) for each in (*subset.addresses, *subset.not_ready_addresses))
                + sum(
                    _message(_text(port.name) + _number(port.port) + _text(port.protocol) + _optional(port.app_protocol))
                    for port in subset.ports
                )
            )
            for subset in obj.subsets
        )
    elif isinstance(obj, EndpointSlice):
        body = (
            _message(_metadata(obj.metadata))
            + sum(_message(_endpoint(each)) for each in obj.endpoints)
            + sum(
                _message(
                    _text(port.name or "") + _optional(port.protocol) + (_number(port.port) if port.port is not None else 0)
                    + _optional(port.app_protocol)
                )
                for port in obj.ports
            )
            + _text(obj.address_type)
        )
    else:
        body = _message(_metadata(obj.metadata)) + _message(_service(obj)) + _message(_message(0))
    # "k8s", a zero byte, and runtime.Unknown: its type, the object, and two empty strings.
    return 4 + _message(_text(obj.api_version) + _text(obj.kind)) + _message(body) + 4


def _varint(value: int) -> int:
    return max(1, (value.bit_length() + 6) // 7)


def _message(size: int) -> int:
    """A field that is a message of this size: tag, length, contents."""
    return 1 + _varint(size) + size


def _text(text: str) -> int:
    return _message(len(text.encode()))


def _optional(text: str | None) -> int:
    return 0 if text is None else _text(text)


def _number(value: int) -> int:
    return 1 + _varint(value)


def _texts(values: Iterable[str]) -> int:
    return sum(_text(value) for value in values)


def _pairs(values: dict[str, str]) -> int:
    return sum(_message(_text(key) + _text(value)) for key, value in values.items())


def _metadata(metadata: ObjectMeta) -> int:
    version = str(metadata.resource_version) if metadata.resource_version else ""
    owners = sum(
        _message(_text(owner.kind) + _text(owner.name) + _text(owner.uid) + _text(owner.api_version) + 4)
        for owner in metadata.owner_references
    )
    # name, generateName, namespace, selfLink, uid, resourceVersion, generation, creationTimestamp (seconds and nanoseconds)
    plain = (metadata.name, metadata.generate_name, metadata.namespace, "", metadata.uid, version)
    return _texts(plain) + _number(0) + _message(8) + _pairs(metadata.labels) + _pairs(metadata.annotations) + owners


def _reference(reference: ObjectReference) -> int:
    return _texts((
        reference.kind, reference.namespace, reference.name, reference.uid, reference.api_version, reference.resource_version,
        reference.field_path,
    ))


def _address(address: EndpointAddress) -> int:
    target = _message(_reference(address.target_ref)) if address.target_ref is not None else 0
    return _text(address.ip) + target + _text(address.hostname) + _optional(address.node_name)


def _endpoint(endpoint: Endpoint) -> int:
    conditions = endpoint.conditions
    flags = sum(2 for flag in (conditions.ready, conditions.serving, conditions.terminating) if flag is not None)
    target = _message(_reference(endpoint.target_ref)) if endpoint.target_ref is not None else 0
    hints = 0
    if endpoint.hints is not None:
        names = [zone.name for zone in endpoint.hints.for_zones] + [node.name for node in endpoint.hints.for_nodes]
        hints = _message(sum(_message(_text(name)) for name in names))
    return (
        _texts(endpoint.addresses) + _message(flags) + _optional(endpoint.hostname) + target + _optional(endpoint.node_name)
        + _optional(endpoint.zone) + hints
    )


def _service(service: Service) -> int:
    spec = service.spec
    ports = 0
    for port in spec.ports:
        target = str(port.target_port) if isinstance(port.target_port, str) else ""
        number = port.target_port if isinstance(port.target_port, int) else 0
        ports += _message(
            _text(port.name) + _text(port.protocol) + _number(port.port) + _message(2 + _number(number) + _text(target))
            + _number(port.node_port) + _optional(port.app_protocol)
        )
    plain = (spec.cluster_ip or "", spec.type, spec.session_affinity, spec.load_balancer_ip, spec.external_name)
    policies = (spec.internal_traffic_policy, spec.ip_family_policy, spec.traffic_distribution)
    optional = (spec.external_traffic_policy or "", *policies)
    lists = (*spec.external_ips, *spec.load_balancer_source_ranges, *spec.cluster_ips, *spec.ip_families)
    return (
        ports + _pairs(spec.selector) + _texts(plain) + sum(map(_optional, optional)) + _texts(lists)
        + _number(spec.health_check_node_port) + 2
    )


@dataclass(slots=True)
class Sent:
    """What was sent of one resource: writes, the largest object, and bytes over all watchers."""

    writes: int = 0
    largest_bytes: int = 0
    bytes: int = 0


class Propagation:
    """Counts what the API server sends of Services, Endpoints and slices.

    `nodes` are the nodes that run a kube-proxy; before Kubernetes 1.19 these watch Endpoints (`of_endpoints`), not slices
    (feature EndpointSliceProxying). Lists that a component starts with are not counted.
    """

    __slots__ = ("_board", "nodes", "of_endpoints", "sent")

    def __init__(self, store: Store, board: Switchboard) -> None:
        self._board = board
        self.nodes = 0
        self.of_endpoints = False
        self.sent = {resource: Sent() for resource in RESOURCES.values()}
        for kind in RESOURCES:
            store.listen(kind, self._written)

    def watchers(self, kind: str) -> int:
        """How many watch a kind."""
        count = self._board.watchers(kind)
        if self.of_endpoints and kind != "Service":
            return count + self.nodes if kind == "Endpoints" else count - self.nodes
        return count

    def _written(self, event: Event) -> None:
        obj = event.obj
        assert isinstance(obj, Published)
        size = protobuf_bytes(obj)
        sent = self.sent[RESOURCES[obj.kind]]
        sent.writes += 1
        sent.largest_bytes = max(sent.largest_bytes, size)
        sent.bytes += size * self.watchers(obj.kind)
