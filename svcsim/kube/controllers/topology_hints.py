"""Topology Aware Routing: zone hints for endpoints in proportion to the CPU of each zone's nodes.

Endpoints are hinted for their own zone; zones that have more than their share then give some to zones that have less. No zone may
be overloaded by more than 20%: otherwise, or without zone and CPU of every node, there are no hints at all.

Sources: kubernetes staging/src/k8s.io/endpointslice/topologycache (topologycache.go, sliceinfo.go, utils.go), reconciler.go.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from svcsim.kube.api.endpoints import Endpoint, EndpointHints, EndpointSlice, ForZone

OVERLOAD_THRESHOLD = 0.2
TOPOLOGY_MODE_ANNOTATION = "service.kubernetes.io/topology-mode"
TOPOLOGY_HINTS_ANNOTATION = "service.kubernetes.io/topology-aware-hints"

Refusal = Literal[
    "InsufficientNodeInfo",
    "NodesReadyInOneZoneOnly",
    "InsufficientNumberOfEndpoints",
    "MinAllocationExceedsOverloadThreshold",
    "NoZoneSpecified",
    "NoAllocatedHintsForZones",
]


def hints_enabled(annotations: Mapping[str, str]) -> bool:
    """Whether a Service asks for topology hints; the older annotation counts first."""
    value = annotations.get(TOPOLOGY_HINTS_ANNOTATION, annotations.get(TOPOLOGY_MODE_ANNOTATION))
    return value in ("auto", "Auto")


@dataclass(frozen=True, slots=True)
class NodeShare:
    """What a node adds to its zone; a CPU of 0 is an unknown one."""

    zone: str
    cpu_milli: int
    ready: bool = True
    control_plane: bool = False


def cpu_by_zone(nodes: Iterable[NodeShare]) -> dict[str, int] | None:
    """Millicores of each zone's ready worker nodes, None when that says nothing: unknown shares or a single zone."""
    zones: dict[str, int] = {}
    for node in nodes:
        if node.control_plane or not node.ready:
            continue
        if not node.zone or not node.cpu_milli:
            return None
        zones[node.zone] = zones.get(node.zone, 0) + node.cpu_milli
    return zones if len(zones) > 1 else None


def cpu_ratios(nodes: Iterable[NodeShare]) -> dict[str, float] | None:
    """Each zone's part of the CPU, None as for `cpu_by_zone`."""
    zones = cpu_by_zone(nodes)
    if zones is None:
        return None
    total = sum(zones.values())
    return {zone: cpu / total for zone, cpu in zones.items()}


@dataclass(frozen=True, slots=True)
class Allocation:
    """How many endpoints are to be hinted for a zone."""

    minimum: int
    maximum: int
    desired: float


def allocate(ratios: Mapping[str, float] | None, endpoints: int) -> dict[str, Allocation] | Refusal:
    """The zones' shares of so many ready endpoints, or why there can be none."""
    if ratios is None:
        return "InsufficientNodeInfo"
    if len(ratios) < 2:
        return "NodesReadyInOneZoneOnly"
    if len(ratios) > endpoints:
        return "InsufficientNumberOfEndpoints"
    minimums = {zone: math.ceil(ratio * endpoints / (1 + OVERLOAD_THRESHOLD)) for zone, ratio in ratios.items()}
    spare = endpoints - sum(minimums.values())
    if spare < 0:
        return "MinAllocationExceedsOverloadThreshold"
    return {
        zone: Allocation(minimum, minimum + spare, max(ratios[zone] * endpoints, float(minimum)))
        for zone, minimum in minimums.items()
    }


def is_ready(endpoint: Endpoint) -> bool:
    """Whether an endpoint takes part: its ready condition is set and true."""
    return endpoint.conditions.ready is True


def _zones_of(endpoint: Endpoint) -> tuple[str, ...]:
    return tuple(zone.name for zone in endpoint.hints.for_zones) if endpoint.hints else ()


def kept_hints(endpoints: Iterable[Endpoint], maximum: Mapping[str, int], allocated: Mapping[str, int]) -> dict[str, int] | None:
    """The hints by zone of a slice that may stay as it is, None if one is missing, of no zone, or one too many."""
    found: dict[str, int] = {}
    for endpoint in endpoints:
        if not is_ready(endpoint):
            continue
        zones = _zones_of(endpoint)
        if not zones or any(zone not in maximum for zone in zones):
            return None
        for zone in zones:
            found[zone] = found.get(zone, 0) + 1
    for zone, count in found.items():
        if zone in allocated and allocated[zone] + count > maximum[zone]:
            return None
    return found


def _most(zones: Mapping[str, float]) -> tuple[str, float]:
    """The zone with the largest positive number; the first by name of several."""
    name, most = "", 0.0
    for zone in sorted(zones):
        if zones[zone] > most:
            name, most = zone, zones[zone]
    return name, most


def giving_and_receiving(desired: Mapping[str, float], allocated: Mapping[str, int]) -> tuple[dict[str, int], dict[str, int]]:
    """How many endpoints each zone gives away or receives, so that each comes near to what is desired."""
    surplus = {zone: allocated.get(zone, 0) - target for zone, target in desired.items()}
    to_give = {zone: number for zone, number in surplus.items() if number > 0}
    to_receive = {zone: -number for zone, number in surplus.items() if number < 0}
    giving: dict[str, int] = {}
    receiving: dict[str, int] = {}
    while True:
        giver, more = _most(to_give)
        receiver, less = _most(to_receive)
        if not giver or not receiver or (more < 1 and less < 1) or more < 0.5 or less < 0.5:
            return giving, receiving
        giving[giver] = giving.get(giver, 0) + 1
        to_give[giver] -= 1
        receiving[receiver] = receiving.get(receiver, 0) + 1
        to_receive[receiver] -= 1


def _hinted(endpoint: Endpoint, zone: str) -> Endpoint:
    return endpoint.model_copy(update={"hints": EndpointHints(for_zones=(ForZone(name=zone),))})


def _unhinted(endpoint: Endpoint) -> Endpoint:
    return endpoint if endpoint.hints is None else endpoint.model_copy(update={"hints": None})


def redistribute(slices: list[list[Endpoint]], giving: Mapping[str, int], receiving: Mapping[str, int]) -> dict[str, int]:
    """Hint ready endpoints of giving zones for receiving ones, in place; the change in number of each zone's hints."""
    giving = {zone: number for zone, number in giving.items() if number > 0}
    receiving = {zone: receiving[zone] for zone in sorted(receiving) if receiving[zone] > 0}
    changes: dict[str, int] = {}
    for endpoints in slices:
        for position, endpoint in enumerate(endpoints):
            if not is_ready(endpoint):
                endpoints[position] = _unhinted(endpoint)
                continue
            if not giving or not receiving:
                return changes
            giver = endpoint.zone or ""
            if giver not in giving:
                continue
            receiver = next(iter(receiving))
            endpoints[position] = _hinted(endpoint, receiver)
            for zones, zone in ((giving, giver), (receiving, receiver)):
                zones[zone] -= 1
                if not zones[zone]:
                    del zones[zone]
            changes[receiver] = changes.get(receiver, 0) + 1
            changes[giver] = changes.get(giver, 0) - 1
    return changes


def is_overloaded(by_zone: Mapping[str, int], ratios: Mapping[str, float] | None) -> bool:
    """Whether hints by zone, once right, are not any more: a zone's endpoints carry too much of its share.

    Source: topologycache.go, utils.go (GetOverloadedServices, serviceOverloaded).
    """
    if not by_zone or ratios is None:
        return False
    total = sum(by_zone.values())
    return any(
        not by_zone.get(zone) or (ratio * total - by_zone[zone]) / by_zone[zone] > OVERLOAD_THRESHOLD
        for zone, ratio in ratios.items()
    )


@dataclass(frozen=True, slots=True)
class Changes:
    """The slices of one Service and family that a sync creates, updates and leaves as they are."""

    create: tuple[EndpointSlice, ...] = ()
    update: tuple[EndpointSlice, ...] = ()
    unchanged: tuple[EndpointSlice, ...] = ()


@dataclass(frozen=True, slots=True)
class Hinted:
    """Changes with hints: endpoints by hinted zone, or the reason for there being none."""

    changes: Changes
    by_zone: dict[str, int] = field(default_factory=dict)
    refusal: Refusal | None = None


def _with_endpoints(endpoint_slice: EndpointSlice, endpoints: Sequence[Endpoint]) -> EndpointSlice:
    return endpoint_slice.model_copy(update={"endpoints": tuple(endpoints)})


def without_hints(changes: Changes) -> Changes:
    """The changes with every hint gone; a slice that had one is updated."""
    bare = tuple(_with_endpoints(each, [_unhinted(endpoint) for endpoint in each.endpoints]) for each in changes.unchanged)
    stale = tuple(after for before, after in zip(changes.unchanged, bare, strict=True) if before != after)
    same = tuple(before for before, after in zip(changes.unchanged, bare, strict=True) if before == after)
    return Changes(
        tuple(_with_endpoints(each, [_unhinted(endpoint) for endpoint in each.endpoints]) for each in changes.create),
        tuple(_with_endpoints(each, [_unhinted(endpoint) for endpoint in each.endpoints]) for each in changes.update) + stale,
        same,
    )


def add_hints(changes: Changes, ratios: Mapping[str, float] | None) -> Hinted:
    """The changes with topology hints on all ready endpoints, or with none and the reason."""
    ready = sum(
        is_ready(endpoint) for each in (*changes.create, *changes.update, *changes.unchanged) for endpoint in each.endpoints
    )
    allocations = allocate(ratios, ready)
    if not isinstance(allocations, dict):
        return Hinted(without_hints(changes), refusal=allocations)
    maximum = {zone: allocation.maximum for zone, allocation in allocations.items()}
    by_zone: dict[str, int] = {}
    kept: list[EndpointSlice] = []
    update = list(changes.update)
    for each in changes.unchanged:
        hints = kept_hints(each.endpoints, maximum, by_zone)
        if hints is None:
            update.append(each)
            continue
        kept.append(each)
        for zone, count in hints.items():
            by_zone[zone] = by_zone.get(zone, 0) + count
    written = [*changes.create, *update]
    slices = [list(each.endpoints) for each in written]
    for endpoints in slices:
        for position, endpoint in enumerate(endpoints):
            if not is_ready(endpoint):
                endpoints[position] = _unhinted(endpoint)
                continue
            if not endpoint.zone:
                return Hinted(without_hints(changes), refusal="NoZoneSpecified")
            endpoints[position] = _hinted(endpoint, endpoint.zone)
            by_zone[endpoint.zone] = by_zone.get(endpoint.zone, 0) + 1
    desired = {zone: allocation.desired for zone, allocation in allocations.items()}
    giving, receiving = giving_and_receiving(desired, by_zone)
    for zone, change in redistribute(slices, giving, receiving).items():
        by_zone[zone] = by_zone.get(zone, 0) + change
    if not by_zone:
        return Hinted(without_hints(changes), refusal="NoAllocatedHintsForZones")
    hinted = [_with_endpoints(each, endpoints) for each, endpoints in zip(written, slices, strict=True)]
    count = len(changes.create)
    return Hinted(Changes(tuple(hinted[:count]), tuple(hinted[count:]), tuple(kept)), by_zone)
