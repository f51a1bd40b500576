"""Which endpoints a node uses for which traffic.

Source: pkg/proxy/topology.go (kubernetes 1.33 and 1.34); KEP-2433 (hints), KEP-3015 (same node), KEP-1669 (terminating).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from svcsim.kubeproxy.endpoint_map import EndpointInfo
from svcsim.kubeproxy.service_ports import ServicePortInfo

TopologyMode = Literal["", "SameZone", "SameNode"]


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The endpoints of one Service port as one node uses them.

    `cluster` serves traffic of policy Cluster, `local` that of policy Local (None: the port has no such traffic), `reachable`
    is their union. `has_any` tells that some node has a usable endpoint, so that traffic is dropped here rather than refused.
    """

    cluster: tuple[EndpointInfo, ...] | None
    local: tuple[EndpointInfo, ...] | None
    reachable: tuple[EndpointInfo, ...]
    has_any: bool


def topology_mode(endpoints: tuple[EndpointInfo, ...], node_name: str, zone: str, *, same_node: bool = True) -> TopologyMode:
    """Whether hints narrow the choice: every ready endpoint needs a hint, and one of them must name this node or zone."""
    ready = [endpoint for endpoint in endpoints if endpoint.ready]
    if same_node and all(endpoint.node_hints for endpoint in ready):
        if any(node_name in endpoint.node_hints for endpoint in ready):
            return "SameNode"
    if all(endpoint.zone_hints for endpoint in ready) and any(zone in endpoint.zone_hints for endpoint in ready):
        return "SameZone"
    return ""


def _is_near(endpoint: EndpointInfo, mode: TopologyMode, node_name: str, zone: str) -> bool:
    if mode == "SameNode":
        return node_name in endpoint.node_hints
    return mode != "SameZone" or zone in endpoint.zone_hints


def _is_last_resort(endpoint: EndpointInfo) -> bool:
    return endpoint.serving and endpoint.terminating


def categorize(
    endpoints: tuple[EndpointInfo, ...], port: ServicePortInfo, node_name: str, zone: str, *, same_node: bool = True
) -> Endpoints:
    """Sort a Service port's endpoints by the traffic that may use them on a node (CategorizeEndpoints).

    Ready endpoints come first; where there is none, those that terminate and still serve. `endpoints` has no duplicates.
    """
    cluster: tuple[EndpointInfo, ...] | None = None
    local: tuple[EndpointInfo, ...] | None = None
    mode: TopologyMode = ""
    if port.uses_cluster_endpoints:
        mode = topology_mode(endpoints, node_name, zone, same_node=same_node)
        cluster = tuple(each for each in endpoints if each.ready and _is_near(each, mode, node_name, zone))
        cluster = cluster or tuple(each for each in endpoints if _is_last_resort(each))
    if not port.uses_local_endpoints:
        return Endpoints(cluster, None, cluster or (), bool(cluster))
    has_any = any(each.ready or _is_last_resort(each) for each in endpoints)
    here = tuple(each for each in endpoints if each.is_local(node_name))
    local = tuple(each for each in here if each.ready)
    terminating = not local
    local = local or tuple(each for each in here if not each.ready and _is_last_resort(each))
    if cluster is None:
        return Endpoints(None, local, local, has_any)
    if not mode and not (terminating and local):
        return Endpoints(cluster, local, cluster, has_any)
    merged = {each.text: each for each in (*cluster, *local)}
    return Endpoints(cluster, local, tuple(merged[text] for text in sorted(merged)), has_any)


def depends_on_node(endpoints: tuple[EndpointInfo, ...], port: ServicePortInfo) -> bool:
    """Whether `categorize` can differ between nodes: the port has local traffic, or some endpoint carries hints."""
    return port.uses_local_endpoints or any(each.zone_hints or each.node_hints for each in endpoints)
