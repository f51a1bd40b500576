"""Networks with switches: hosts and switches joined by declared links, routed by the path of least delay with networkx.

Loaded only where a scenario declares a switch, or somebody asks for the graph: importing networkx costs as much as a small run.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import networkx as nx

if TYPE_CHECKING:
    from svcsim.network.topology import Defaults, Edge, Vertex


class SwitchedNetwork:
    """Paths over declared links from hosts and zones to switches, and between switches."""

    def __init__(self, vertices: Iterable[Vertex], edges: Iterable[Edge], defaults: Defaults) -> None:
        self._graph: nx.Graph[str] = nx.Graph()
        for edge in edges:
            if not any(end.startswith("switch/") for end in edge.ends):
                continue
            filled = _with_defaults(edge, defaults)
            for first in _hosts_at(filled.ends[0], vertices):
                for second in _hosts_at(filled.ends[1], vertices):
                    single = replace(filled, ends=(first, second))
                    self._graph.add_edge(first, second, delay_ns=(filled.rtt_ns or 0) // 2, edge=single)
        self._paths: dict[str, dict[str, list[str]]] = {}

    def path(self, near: Vertex, far: Vertex) -> tuple[Edge, ...] | None:
        """The links of the path of least delay between two hosts, in order; None if the switches do not connect them.

        Paths of equal delay: networkx takes the one found first, which the order of declaration decides.
        """
        source, target = near.end, far.end
        if source not in self._graph or target not in self._graph:
            return None
        found = self._paths.get(source)
        if found is None:
            found = self._paths[source] = nx.single_source_dijkstra_path(self._graph, source, weight="delay_ns")
        path = found.get(target)
        if path is None:
            return None
        edges: list[Edge] = [self._graph.edges[pair]["edge"] for pair in pairwise(path)]
        return tuple(edges)


def _with_defaults(edge: Edge, defaults: Defaults) -> Edge:
    """A link to a switch: half of the distance within a zone unless it says otherwise, and what the network says besides."""
    return replace(
        edge,
        rtt_ns=defaults.same_zone_rtt_ns // 2 if edge.rtt_ns is None else edge.rtt_ns,
        bandwidth_bit_per_s=defaults.bandwidth_bit_per_s if edge.bandwidth_bit_per_s is None else edge.bandwidth_bit_per_s,
    )


def _hosts_at(end: str, vertices: Iterable[Vertex]) -> list[str]:
    if not end.startswith("zone/"):
        return [end]
    zone = end.removeprefix("zone/")
    return [vertex.end for vertex in vertices if vertex.zone == zone and vertex.outside_rtt_ns is None]


def _zone_end(vertex: Vertex) -> str:
    return f"zone/{vertex.zone}" if vertex.zone else "network"


def graph_of(vertices: Iterable[Vertex], edges: Iterable[Edge], defaults: Defaults) -> nx.Graph[str]:
    """The declared network as a graph; see `Topology.graph`."""
    graph: nx.Graph[str] = nx.Graph()
    hosts = list(vertices)
    spoke_ns = defaults.same_zone_rtt_ns // 4
    common = {"jitter_ns": defaults.jitter_ns, "loss": defaults.loss, "bandwidth_bit_per_s": defaults.bandwidth_bit_per_s}
    zones = sorted({_zone_end(vertex) for vertex in hosts if vertex.outside_rtt_ns is None})
    for zone in zones:
        graph.add_node(zone, kind="zone")
    for vertex in hosts:
        outside = vertex.outside_rtt_ns is not None
        graph.add_node(vertex.end, kind="outside" if outside else "node", zone=vertex.zone)
        if not outside:
            graph.add_edge(vertex.end, _zone_end(vertex), delay_ns=spoke_ns, declared=False, **common)
    for i, first in enumerate(zones):
        for second in zones[i + 1:]:
            between_ns = max(0, defaults.cross_zone_rtt_ns // 2 - 2 * spoke_ns)
            graph.add_edge(first, second, delay_ns=between_ns, declared=False, **common)
    for vertex in hosts:
        if vertex.outside_rtt_ns is not None:
            for zone in zones:
                delay_ns = max(0, vertex.outside_rtt_ns // 2 - spoke_ns)
                graph.add_edge(vertex.end, zone, delay_ns=delay_ns, declared=False, **common)
    for edge in edges:
        first, second = edge.ends
        for end in edge.ends:
            if end not in graph:
                graph.add_node(end, kind=end.partition("/")[0])
        graph.add_edge(
            first, second, delay_ns=None if edge.rtt_ns is None else edge.rtt_ns // 2, jitter_ns=edge.jitter_ns, loss=edge.loss,
            bandwidth_bit_per_s=edge.bandwidth_bit_per_s, declared=True,
        )
    return graph
