"""What the Endpoints object of a Service should be: the addresses of its ready and not ready pods, at most 1000 of them.

Source: pkg/controller/endpoint/endpoints_controller.go (syncService, truncateEndpoints).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from svcsim.kube.api.base import ObjectMeta
from svcsim.kube.api.endpoints import EndpointAddress, Endpoints, EndpointsPort, EndpointSubset
from svcsim.kube.api.pod import Pod
from svcsim.kube.api.service import Service
from svcsim.kube.controllers.endpoint_subsets import repack_subsets
from svcsim.kube.controllers.service_pods import (
    HEADLESS_LABEL,
    address_types,
    endpoint_address_of,
    is_candidate,
    same_for_all_pods,
    service_labels,
    subset_ports,
)

OVER_CAPACITY_ANNOTATION = "endpoints.kubernetes.io/over-capacity"
MANAGED_BY_LABEL = "endpoints.kubernetes.io/managed-by"
CONTROLLER = "endpoint-controller"


def _subsets(service: Service, pods: Iterable[Pod]) -> list[EndpointSubset]:
    """The addresses of pods with the same ports stand together."""
    publish, family = service.spec.publish_not_ready_addresses, address_types(service)[0]
    common: tuple[EndpointsPort, ...] | None = None
    found: dict[tuple[EndpointsPort, ...], tuple[list[EndpointAddress], list[EndpointAddress]]] = {}
    if not service.spec.ports and not service.spec.is_headless:
        return []
    for pod in pods:
        if not is_candidate(pod, include_terminating=publish):
            continue
        address = endpoint_address_of(pod, service, family)
        if address is None:
            continue
        ports = common if common is not None else subset_ports(service, pod)
        if common is None and same_for_all_pods(service):
            common = ports
        if ports or not service.spec.ports:
            found.setdefault(ports, ([], []))[0 if publish or pod.is_ready else 1].append(address)
    return [
        EndpointSubset(addresses=tuple(ready), not_ready_addresses=tuple(others), ports=ports)
        for ports, (ready, others) in found.items()
    ]


def truncate(subsets: Sequence[EndpointSubset], limit: int) -> tuple[tuple[EndpointSubset, ...], bool]:
    """At most `limit` addresses, ready ones first, subsets cut in proportion; and whether something was cut.

    A subset of which nothing is kept stays with its ports, as upstream's does.
    """
    ready = sum(len(subset.addresses) for subset in subsets)
    total = ready + sum(len(subset.not_ready_addresses) for subset in subsets)
    if total <= limit:
        return tuple(subsets), False
    kept_ready = _shares([len(subset.addresses) for subset in subsets], limit)
    room = max(0, limit - ready)
    kept_others = _shares([len(subset.not_ready_addresses) for subset in subsets], room)
    return (
        tuple(
            subset.model_copy(
                update={"addresses": subset.addresses[:good], "not_ready_addresses": subset.not_ready_addresses[:others]}
            )
            for subset, good, others in zip(subsets, kept_ready, kept_others, strict=True)
        ),
        True,
    )


def _shares(counts: Sequence[int], limit: int) -> list[int]:
    """How many of each are kept: all, or a proportion of each, rounded up, so that the last may get less."""
    total = sum(counts)
    if total <= limit:
        return list(counts)
    kept: list[int] = []
    for count in counts:
        share = math.ceil(count / total * limit)
        kept.append(min(share, count, limit - sum(kept)))
    return kept


def desired_endpoints(service: Service, pods: Iterable[Pod], existing: Endpoints | None, limit: int = 1000) -> Endpoints | None:
    """The object to write (to create if there is none), or None when it says all this already."""
    subsets, cut = truncate(repack_subsets(_subsets(service, pods)), limit)
    labels = {**service_labels(service.metadata.labels, service), MANAGED_BY_LABEL: CONTROLLER}
    old = existing.metadata.annotations if existing is not None else {}
    annotations = {key: value for key, value in old.items() if key != OVER_CAPACITY_ANNOTATION}
    if cut:
        annotations[OVER_CAPACITY_ANNOTATION] = "truncated"
    if existing is None:
        metadata = ObjectMeta(
            name=service.metadata.name, namespace=service.metadata.namespace, labels=labels, annotations=annotations
        )
        return Endpoints(metadata=metadata, subsets=subsets)
    same_labels = _same_labels(existing.metadata.labels, labels)
    if same_labels and old == annotations and _comparable(existing.subsets) == _comparable(subsets):
        return None
    metadata = existing.metadata.model_copy(update={"labels": labels, "annotations": annotations})
    return existing.model_copy(update={"metadata": metadata, "subsets": subsets})


def _comparable(subsets: Iterable[EndpointSubset]) -> list[object]:
    """Subsets in canonical order, without the pods' resource versions, which change all the time."""

    def bare(addresses: tuple[EndpointAddress, ...]) -> list[object]:
        return [
            (each.ip, each.hostname, each.node_name, each.target_ref and (each.target_ref.uid, each.target_ref.name))
            for each in addresses
        ]

    return [(bare(each.addresses), bare(each.not_ready_addresses), each.ports) for each in repack_subsets(subsets)]


def _same_labels(one: dict[str, str], other: dict[str, str]) -> bool:
    """Equal but for the controller's own labels: that one of those is missing is no reason to write."""
    own = (MANAGED_BY_LABEL, HEADLESS_LABEL)
    return {key: value for key, value in one.items() if key not in own} == {
        key: value for key, value in other.items() if key not in own
    }
