"""Which EndpointSlices of a Service to create, update and delete, so that few writes bring them to what its pods say.

An endpoint stays in the slice that it is in; new ones fill slices that are written anyway, then the fullest one that has room for
all of them, then new slices. Source: staging/src/k8s.io/endpointslice/reconciler.go, utils.go (getSliceToFill), endpointset.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from svcsim.kube.api.base import ObjectMeta, OwnerReference
from svcsim.kube.api.endpoints import MANAGED_BY_LABEL, SERVICE_NAME_LABEL, Endpoint, EndpointPort, EndpointSlice
from svcsim.kube.api.node import Node
from svcsim.kube.api.pod import Pod
from svcsim.kube.api.service import Service
from svcsim.kube.controllers.service_pods import (
    address_types,
    endpoint_of,
    is_candidate,
    same_for_all_pods,
    service_labels,
    slice_ports,
)
from svcsim.kube.controllers.topology_hints import Changes, add_hints, hints_enabled, without_hints
from svcsim.kube.controllers.traffic_distribution import reconcile_hints
from svcsim.kube.events import EventType

SLICE_CONTROLLER = "endpointslice-controller.k8s.io"
RESERVED_LABELS = (SERVICE_NAME_LABEL, MANAGED_BY_LABEL)

Ports = tuple[EndpointPort, ...]
PortsKey = tuple[tuple[str, str, int, str], ...]
Family = Literal["IPv4", "IPv6", "FQDN"]
EndpointKey = tuple[tuple[str, ...], str, str, str]


@dataclass(slots=True)
class SlicePlan:
    """The writes that bring slices to what they should be. A slice to create has a `generateName` only."""

    create: list[EndpointSlice] = field(default_factory=list)
    update: list[EndpointSlice] = field(default_factory=list)
    delete: list[EndpointSlice] = field(default_factory=list)
    unchanged: list[EndpointSlice] = field(default_factory=list)
    missing_nodes: list[str] = field(default_factory=list)
    events: list[tuple[EventType, str, str]] = field(default_factory=list)
    """What is said of the Service's hints: type, reason, message."""

    @property
    def writes(self) -> int:
        """How many API calls the plan takes."""
        return len(self.create) + len(self.update) + len(self.delete)


@dataclass(frozen=True, slots=True)
class SliceSettings:
    """What a cluster's slice controller is set to; `cpu_ratios` are its zones' shares for topology hints, None without."""

    max_endpoints: int = 100
    cpu_ratios: Mapping[str, float] | None = None


def reconcile(
    service: Service,
    pods: Iterable[Pod],
    nodes: Mapping[str, Node],
    existing: Sequence[EndpointSlice],
    settings: SliceSettings = SliceSettings(),
) -> SlicePlan:
    """The plan for all families of a Service; slices of a family that it no longer has are deleted."""
    plan = SlicePlan()
    families = address_types(service)
    plan.delete += [piece for piece in existing if piece.address_type not in families]
    candidates = [pod for pod in pods if is_candidate(pod, include_terminating=True)]
    for family in families:
        desired = _desired(service, candidates, nodes, family, plan)
        _reconcile_family(service, family, desired, [p for p in existing if p.address_type == family], settings, plan)
    return plan


def _desired(
    service: Service, pods: Iterable[Pod], nodes: Mapping[str, Node], family: Family, plan: SlicePlan
) -> dict[PortsKey, tuple[Ports, dict[EndpointKey, Endpoint]]]:
    desired: dict[PortsKey, tuple[Ports, dict[EndpointKey, Endpoint]]] = {}
    common: dict[EndpointKey, Endpoint] | None = None
    alike = same_for_all_pods(service)
    for pod in pods:
        node = nodes.get(pod.spec.node_name)
        if node is None and pod.spec.node_name and not service.spec.publish_not_ready_addresses:
            plan.missing_nodes.append(pod.spec.node_name)
            continue
        endpoint = endpoint_of(pod, service, family, node.zone if node is not None else "")
        if endpoint is None:
            continue
        members = common
        if members is None:
            ports = slice_ports(service, pod)
            members = desired.setdefault(_ports_key(ports), (ports, {}))[1]
            common = members if alike else None
        members[_key(endpoint)] = endpoint
    return desired


def _ports_key(ports: Ports) -> PortsKey:
    return tuple(sorted((each.name or "", each.protocol or "TCP", each.port or 0, each.app_protocol or "") for each in ports))


def _key(endpoint: Endpoint) -> EndpointKey:
    target = endpoint.target_ref
    return (
        endpoint.addresses, endpoint.hostname or "", target.namespace if target else "", target.name if target else "",
    )


def _same(one: Endpoint, other: Endpoint) -> bool:
    """Equal in all that matters beyond the key; hints are not compared, and a pod's version is no difference."""
    if one is other:
        return True
    same_uid = (one.target_ref.uid if one.target_ref else "") == (other.target_ref.uid if other.target_ref else "")
    same_place = one.node_name == other.node_name and one.zone == other.zone
    return same_uid and same_place and _states(one) == _states(other)


def _states(endpoint: Endpoint) -> tuple[bool, bool, bool]:
    """Ready, serving, terminating, as they read where a controller has left them out."""
    conditions = endpoint.conditions
    serving = conditions.ready is not False if conditions.serving is None else conditions.serving
    return conditions.ready is not False, serving, conditions.terminating is True


def _is_owned(service: Service, piece: EndpointSlice) -> bool:
    return any(owner.controller and owner.uid == service.metadata.uid for owner in piece.metadata.owner_references)


def _labels(service: Service) -> dict[str, str]:
    return {
        **service_labels(service.metadata.labels, service, RESERVED_LABELS),
        SERVICE_NAME_LABEL: service.metadata.name,
        MANAGED_BY_LABEL: SLICE_CONTROLLER,
    }


def new_slice(service: Service, family: Family, ports: Ports, endpoints: Iterable[Endpoint] = ()) -> EndpointSlice:
    """A slice of a Service, without a name so far."""
    owner = OwnerReference(
        api_version="v1", kind="Service", name=service.metadata.name, uid=service.metadata.uid, controller=True
    )
    metadata = ObjectMeta(
        generate_name=f"{service.metadata.name}-",
        namespace=service.metadata.namespace,
        labels=_labels(service),
        owner_references=(owner,),
    )
    return EndpointSlice.model_construct(
        api_version="discovery.k8s.io/v1",
        kind="EndpointSlice",
        metadata=metadata,
        address_type=family,
        endpoints=tuple(endpoints),
        ports=ports,
    )


class _PortGroup:
    """The slices of one set of ports, on their way from what they are to what they should be."""

    def __init__(self, service: Service, existing: Iterable[EndpointSlice], desired: dict[EndpointKey, Endpoint]) -> None:
        self.left = dict(desired)
        self.update: dict[str, tuple[EndpointSlice, list[Endpoint]]] = {}
        self.unchanged: dict[str, tuple[EndpointSlice, list[Endpoint]]] = {}
        self.delete: list[EndpointSlice] = []
        labels = _labels(service)
        for piece in existing:
            self._keep(piece, labels)

    def _keep(self, piece: EndpointSlice, labels: dict[str, str]) -> None:
        kept: list[Endpoint] = []
        changed = False
        for endpoint in piece.endpoints:
            wanted = self.left.pop(_key(endpoint), None)
            if wanted is None:
                changed = True
                continue
            if _same(endpoint, wanted):
                kept.append(endpoint)
            else:
                changed = True
                kept.append(wanted.model_copy(update={"hints": endpoint.hints}))
        name = piece.metadata.name
        relabelled = piece
        if piece.metadata.labels != labels:
            relabelled = piece.model_copy(update={"metadata": piece.metadata.model_copy(update={"labels": labels})})
        if changed and not kept:
            self.delete.append(piece)
        elif changed or relabelled is not piece:
            self.update[name] = (relabelled, kept)
        else:
            self.unchanged[name] = (piece, kept)

    def place(self, limit: int) -> list[list[Endpoint]]:
        """Put what is left into slices that are written anyway, the fullest unwritten one, or new ones (returned)."""
        for _, kept in sorted(self.update.values(), key=lambda entry: -len(entry[1])):
            self._fill(kept, limit)
        fresh: list[list[Endpoint]] = []
        while self.left:
            name = self._slice_with_room(limit) if len(self.left) < limit else None
            if name is None:
                fresh.append([])
                self._fill(fresh[-1], limit)
            else:
                self.update[name] = self.unchanged.pop(name)
                self._fill(self.update[name][1], limit)
        return fresh

    def _fill(self, endpoints: list[Endpoint], limit: int) -> None:
        while self.left and len(endpoints) < limit:
            endpoints.append(self.left.pop(next(iter(self.left))))

    def _slice_with_room(self, limit: int) -> str | None:
        room = {name: len(kept) + len(self.left) for name, (_, kept) in self.unchanged.items()}
        fitting = {name: length for name, length in room.items() if length <= limit}
        return max(fitting, key=lambda name: fitting[name]) if fitting else None


def _reconcile_family(
    service: Service,
    family: Family,
    desired: dict[PortsKey, tuple[Ports, dict[EndpointKey, Endpoint]]],
    existing: Sequence[EndpointSlice],
    settings: SliceSettings,
    plan: SlicePlan,
) -> None:
    by_ports: dict[PortsKey, list[EndpointSlice]] = {}
    delete: list[EndpointSlice] = []
    for piece in existing:
        if _is_owned(service, piece):
            by_ports.setdefault(_ports_key(piece.ports), []).append(piece)
        else:
            delete.append(piece)
    create: list[EndpointSlice] = []
    update: list[EndpointSlice] = []
    unchanged: list[EndpointSlice] = []
    for key, (ports, endpoints) in desired.items():
        group = _PortGroup(service, by_ports.pop(key, ()), endpoints)
        create += [new_slice(service, family, ports, fresh) for fresh in group.place(settings.max_endpoints)]
        update += [piece.model_copy(update={"endpoints": tuple(kept)}) for piece, kept in group.update.values()]
        unchanged += [piece for piece, _ in group.unchanged.values()]
        delete += group.delete
    delete += [piece for pieces in by_ports.values() for piece in pieces]
    if not create and len(delete) == len(existing):
        placeholder = new_slice(service, family, ())
        kept_placeholder = next((piece for piece in delete if is_placeholder(piece, placeholder)), None)
        if kept_placeholder is not None and len(delete) == 1:
            delete, unchanged = [], [kept_placeholder]
        else:
            create = [placeholder]
    changes = _hinted(service, family, Changes(tuple(create), tuple(update), tuple(unchanged)), settings, plan)
    finalise(service, list(changes.create), list(changes.update), delete, plan)
    plan.unchanged += changes.unchanged


def is_placeholder(piece: EndpointSlice, placeholder: EndpointSlice) -> bool:
    """Equal to a new slice without ports and endpoints, names and what the API server sets aside."""
    return (
        not piece.endpoints
        and not piece.ports
        and piece.address_type == placeholder.address_type
        and piece.metadata.namespace == placeholder.metadata.namespace
        and piece.metadata.labels == placeholder.metadata.labels
        and [owner.uid for owner in piece.metadata.owner_references]
        == [owner.uid for owner in placeholder.metadata.owner_references]
    )


_NO_HINTS = {
    "InsufficientNodeInfo": "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes",
    "NodesReadyInOneZoneOnly": "Nodes only ready in one zone",
    "InsufficientNumberOfEndpoints": "Insufficient number of endpoints",
    "MinAllocationExceedsOverloadThreshold":
        "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold",
    "NoZoneSpecified": "One or more endpoints do not have a zone specified",
    "NoAllocatedHintsForZones": "No hints allocated for zones",
}


def _hinted(service: Service, family: Family, changes: Changes, settings: SliceSettings, plan: SlicePlan) -> Changes:
    """The changes with the hints that a Service asks for; what is said of them goes into the plan."""
    pieces = (*changes.create, *changes.update, *changes.unchanged)
    hinted = any(endpoint.hints is not None for piece in pieces for endpoint in piece.endpoints)
    if hints_enabled(service.metadata.annotations):
        made = add_hints(changes, settings.cpu_ratios)
        if made.refusal is not None:
            text = f"{_NO_HINTS[made.refusal]}, addressType: {family}"
            plan.events.append(("Warning", "TopologyAwareHintsDisabled", text))
        elif not hinted:
            text = f"Topology Aware Hints has been enabled, addressType: {family}"
            plan.events.append(("Normal", "TopologyAwareHintsEnabled", text))
        return made.changes
    if service.spec.traffic_distribution:
        return reconcile_hints(changes, service.spec.traffic_distribution)
    return without_hints(changes) if hinted else changes


def finalise(
    service: Service, create: list[EndpointSlice], update: list[EndpointSlice], delete: list[EndpointSlice], plan: SlicePlan
) -> None:
    """A slice to create takes the place of one to delete; nothing is created for a Service that is being deleted."""
    recyclable = [piece for piece in delete if _is_owned(service, piece)]
    while create and recyclable:
        old, new = recyclable.pop(0), create.pop(0)
        delete = [piece for piece in delete if piece is not old]
        metadata = old.metadata.model_copy(update={"labels": new.metadata.labels})
        update.append(new.model_copy(update={"metadata": metadata}))
    if service.metadata.deletion_ns is None:
        plan.create += create
    plan.update += update
    plan.delete += delete
