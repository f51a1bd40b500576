"""The EndpointSlice mirroring controller: hand-made Endpoints as slices, one for each subset and address family.

Source: kubernetes pkg/controller/endpointslicemirroring (reconciler.go, utils.go, endpointslicemirroring_controller.go).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from svcsim.kube.api.base import ObjectMeta, OwnerReference
from svcsim.kube.api.endpoints import (
    MANAGED_BY_LABEL,
    SERVICE_NAME_LABEL,
    Endpoint,
    EndpointAddress,
    EndpointConditions,
    EndpointPort,
    Endpoints,
    EndpointSlice,
)
from svcsim.kube.api.service import Service
from svcsim.kube.controllers.endpoint_subsets import repack_subsets
from svcsim.linux.address import is_ipv6, parse_address

MIRRORING_CONTROLLER = "endpointslicemirroring-controller.k8s.io"
SKIP_MIRROR_LABEL = "endpointslice.kubernetes.io/skip-mirror"
LEADER_ANNOTATION = "control-plane.alpha.kubernetes.io/leader"
UNMIRRORED_ANNOTATIONS = (
    "endpoints.kubernetes.io/last-change-trigger-time",
    "kubectl.kubernetes.io/last-applied-configuration",
)
MAX_ENDPOINTS_PER_SUBSET = 1000

PortsKey = tuple[tuple[EndpointPort, ...], str]


@dataclass(slots=True)
class MirrorPlan:
    """The slices to create, update and delete, and what that changes in numbers of endpoints.

    A slice to create has no name yet, only `generateName`. `skipped` counts addresses that are none or too many.
    """

    create: list[EndpointSlice] = field(default_factory=list)
    update: list[EndpointSlice] = field(default_factory=list)
    delete: list[EndpointSlice] = field(default_factory=list)
    added: int = 0
    updated: int = 0
    removed: int = 0
    skipped: int = 0


def should_mirror(endpoints: Endpoints, service: Service | None) -> bool:
    """Whether Endpoints are mirrored: those of a Service without selector, unless told otherwise."""
    metadata = endpoints.metadata
    if metadata.labels.get(SKIP_MIRROR_LABEL) == "true" or LEADER_ANNOTATION in metadata.annotations:
        return False
    return service is not None and not service.spec.selector


def _family(address: EndpointAddress) -> str | None:
    try:
        return "IPv6" if is_ipv6(parse_address(address.ip)) else "IPv4"
    except ValueError:
        return None


def _endpoint(address: EndpointAddress, ready: bool) -> Endpoint:
    return Endpoint(
        addresses=(address.ip,),
        conditions=EndpointConditions(ready=ready),
        hostname=address.hostname or None,
        node_name=address.node_name,
        target_ref=address.target_ref,
    )


def _identity(endpoint: Endpoint) -> tuple[object, ...]:
    """What makes two endpoints the same one, however their state differs."""
    target = endpoint.target_ref
    return tuple(sorted(endpoint.addresses)), (target.namespace, target.name, target.uid) if target else None


def _mirrored(values: Mapping[str, str], without: Sequence[str]) -> dict[str, str]:
    return {key: value for key, value in values.items() if key not in without}


def _slice(endpoints: Endpoints, key: PortsKey, members: Sequence[Endpoint], name: str) -> EndpointSlice:
    metadata = endpoints.metadata
    owner = OwnerReference(api_version="v1", kind="Endpoints", name=metadata.name, uid=metadata.uid, controller=True)
    ports, family = key
    return EndpointSlice.model_validate(
        {
            "metadata": ObjectMeta(
                name=name,
                generate_name="" if name else f"{metadata.name}-",
                namespace=metadata.namespace,
                labels={
                    **metadata.labels,
                    SERVICE_NAME_LABEL: metadata.name,
                    MANAGED_BY_LABEL: MIRRORING_CONTROLLER,
                },
                annotations=_mirrored(metadata.annotations, UNMIRRORED_ANNOTATIONS),
                owner_references=(owner,),
            ),
            "address_type": family,
            "endpoints": tuple(members),
            "ports": ports,
        }
    )


def _desired(endpoints: Endpoints, limit: int, plan: MirrorPlan) -> dict[PortsKey, list[Endpoint]]:
    desired: dict[PortsKey, list[Endpoint]] = {}
    for subset in repack_subsets(endpoints.subsets):
        ports = tuple(
            EndpointPort(name=port.name, protocol=port.protocol, port=port.port, app_protocol=port.app_protocol)
            for port in subset.ports
        )
        mirrored = 0
        for ready, addresses in ((True, subset.addresses), (False, subset.not_ready_addresses)):
            for address in addresses:
                family = _family(address) if mirrored < limit else None
                if family is None:
                    plan.skipped += 1
                    continue
                desired.setdefault((ports, family), []).append(_endpoint(address, ready))
                mirrored += 1
    return desired


def _count_changes(plan: MirrorPlan, existing: EndpointSlice, desired: Sequence[Endpoint]) -> bool:
    """Add a slice's changes to the plan's numbers; whether there are any."""
    wanted = {_identity(endpoint): endpoint for endpoint in desired}
    matches = updated = removed = 0
    for endpoint in existing.endpoints:
        found = wanted.get(_identity(endpoint))
        if found is None:
            removed += 1
        else:
            matches += 1
            updated += found != endpoint
    added = len(wanted) - matches
    plan.added += added
    plan.updated += updated
    plan.removed += removed
    return bool(added or updated or removed)


def mirror(endpoints: Endpoints, existing: Sequence[EndpointSlice], limit: int = MAX_ENDPOINTS_PER_SUBSET) -> MirrorPlan:
    """What to do so that slices mirror Endpoints; nothing is created for Endpoints that are being deleted."""
    plan = MirrorPlan()
    desired = _desired(endpoints, limit, plan)
    by_key: dict[PortsKey, list[EndpointSlice]] = {}
    for each in existing:
        by_key.setdefault((each.ports, each.address_type), []).append(each)
    metadata = endpoints.metadata
    for key, members in desired.items():
        found = by_key.pop(key, [])
        if not found:
            plan.added += len(members)
            plan.create.append(_slice(endpoints, key, members[:limit], ""))
            continue
        first = found[0]
        plan.delete += found[1:]
        labels = _mirrored(first.metadata.labels, (MANAGED_BY_LABEL, SERVICE_NAME_LABEL))
        annotations = _mirrored(metadata.annotations, UNMIRRORED_ANNOTATIONS)
        same = (labels, first.metadata.annotations) == (metadata.labels, annotations)
        if _count_changes(plan, first, members) or not same:
            plan.update.append(_slice(endpoints, key, members[:limit], first.metadata.name))
    for slices in by_key.values():
        plan.delete += slices
        plan.removed += sum(len(each.endpoints) for each in slices)
    while plan.create and plan.delete:
        recycled = plan.delete.pop(0).metadata.name
        made = plan.create.pop(0)
        renamed = made.metadata.model_copy(update={"name": recycled, "generate_name": ""})
        plan.update.append(made.model_copy(update={"metadata": renamed}))
    if metadata.deletion_ns is not None:
        plan.create.clear()
    return plan
