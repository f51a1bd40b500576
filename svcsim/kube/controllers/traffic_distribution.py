"""`trafficDistribution`: each endpoint is hinted for its own zone, or its own node and zone, and no share is kept.

Source: kubernetes staging/src/k8s.io/endpointslice/trafficdist/trafficdist.go.
"""

from __future__ import annotations

from svcsim.kube.api.endpoints import Endpoint, EndpointHints, EndpointSlice, ForNode, ForZone
from svcsim.kube.controllers.topology_hints import Changes, is_ready


def _hints(endpoint: Endpoint, distribution: str | None) -> EndpointHints | None:
    if not is_ready(endpoint):
        return None
    zones: tuple[ForZone, ...] = ()
    nodes: tuple[ForNode, ...] = ()
    if distribution in ("PreferClose", "PreferSameZone", "PreferSameNode") and endpoint.zone:
        zones = (ForZone(name=endpoint.zone),)
    if distribution == "PreferSameNode" and endpoint.node_name:
        nodes = (ForNode(name=endpoint.node_name),)
    return EndpointHints(for_zones=zones, for_nodes=nodes) if zones or nodes else None


def _hinted(endpoint_slice: EndpointSlice, distribution: str | None) -> EndpointSlice:
    endpoints = tuple(
        endpoint if endpoint.hints == (hints := _hints(endpoint, distribution)) else endpoint.model_copy(update={"hints": hints})
        for endpoint in endpoint_slice.endpoints
    )
    return endpoint_slice if endpoints == endpoint_slice.endpoints else endpoint_slice.model_copy(update={"endpoints": endpoints})


def reconcile_hints(changes: Changes, distribution: str | None) -> Changes:
    """The changes with the hints of a `trafficDistribution` (None: without any); what differs is updated."""
    after = [_hinted(each, distribution) for each in changes.unchanged]
    pairs = list(zip(changes.unchanged, after, strict=True))
    return Changes(
        tuple(_hinted(each, distribution) for each in changes.create),
        tuple(_hinted(each, distribution) for each in changes.update)
        + tuple(made for before, made in pairs if before is not made),
        tuple(before for before, made in pairs if before is made),
    )
