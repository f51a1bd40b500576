"""Who reaches whom and how: hosts in zones, the delays between them, declared links, and what faults do to them.

Without declared links the network is a star a zone: two hosts are as far from each other as their zones say. Declared links
change the path between two ends (a host, or all hosts of a zone). `graph` is the same as a networkx graph, with a vertex for each
host and zone; a route between hosts of a custom graph is its path of least delay.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from svcsim.errors import UsageError
from svcsim.network.links import Link

if TYPE_CHECKING:
    import networkx as nx


@dataclass(frozen=True, slots=True)
class Route:
    """One direction between two hosts: pure delay (half the round trip), jitter (evenly from 0 to this), loss, finite links."""

    delay_ns: int
    jitter_ns: int = 0
    loss: float = 0.0
    links: tuple[Link, ...] = ()

    @property
    def is_rough(self) -> bool:
        """Whether packets fare differently from one another on it."""
        return bool(self.jitter_ns or self.loss or self.links)


@dataclass(frozen=True, slots=True)
class Vertex:
    """A host: a node in a zone, or one outside with its own distance to every node."""

    name: str
    zone: str = ""
    outside_rtt_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Edge:
    """What is particular between two ends, `node/…`, `zone/…` or `outside/…`; None leaves what is there."""

    ends: tuple[str, str]
    rtt_ns: int | None = None
    jitter_ns: int | None = None
    bandwidth_bit_per_s: int | None = None
    queue_bytes: int | None = None
    loss: float | None = None


@dataclass(frozen=True, slots=True)
class Defaults:
    """What holds between any two hosts of which nothing else is said."""

    same_zone_rtt_ns: int
    cross_zone_rtt_ns: int
    jitter_ns: int = 0
    loss: float = 0.0
    bandwidth_bit_per_s: int | None = None
    queue_bytes: int = 1 << 20


@dataclass(slots=True)
class Topology:
    """The network of a world. Routes are kept until a fault changes something; who holds one asks again then."""

    vertices: tuple[Vertex, ...]
    defaults: Defaults
    edges: tuple[Edge, ...] = ()
    _by_name: dict[str, Vertex] = field(init=False)
    _routes: dict[tuple[str, str], Route | None] = field(default_factory=dict)
    _links: dict[tuple[str, str], Link] = field(default_factory=dict)
    _faults: dict[int, Edge] = field(default_factory=dict)
    _cut: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._by_name = {vertex.name: vertex for vertex in self.vertices}
        for edge in self.edges:
            self._check(edge)

    def route(self, source: str, target: str) -> Route | None:
        """How packets go from host to host now; None if a partition keeps them apart."""
        key = (source, target)
        if key in self._routes:
            return self._routes[key]
        route = self._routes[key] = self._compute(source, target)
        return route

    def _compute(self, source: str, target: str) -> Route | None:
        if source != target and (self._cut.get(source) or self._cut.get(target)):
            return None
        near, far = self._by_name[source], self._by_name[target]
        defaults = self.defaults
        if source == target:
            return Route(0)
        outside_ns = [vertex.outside_rtt_ns for vertex in (near, far) if vertex.outside_rtt_ns is not None]
        if outside_ns:
            rtt_ns = sum(outside_ns)
        else:
            rtt_ns = defaults.same_zone_rtt_ns if near.zone == far.zone else defaults.cross_zone_rtt_ns
        jitter_ns, loss = defaults.jitter_ns, defaults.loss
        bandwidth, queue_bytes = defaults.bandwidth_bit_per_s, defaults.queue_bytes
        own_link: Edge | None = None
        for edge in (*self.edges, *self._faults.values()):
            if not self._applies(edge, near, far):
                continue
            rtt_ns = rtt_ns if edge.rtt_ns is None else edge.rtt_ns
            jitter_ns = jitter_ns if edge.jitter_ns is None else edge.jitter_ns
            loss = loss if edge.loss is None else edge.loss
            if edge.bandwidth_bit_per_s is not None:
                bandwidth, own_link = edge.bandwidth_bit_per_s, edge
            queue_bytes = queue_bytes if edge.queue_bytes is None else edge.queue_bytes
        links: tuple[Link, ...] = ()
        if bandwidth is not None:
            if own_link is not None:
                first, second = own_link.ends if self._is_end(own_link.ends[0], near) else own_link.ends[::-1]
                links = (self._link(first, second, bandwidth, queue_bytes),)
            else:
                links = (
                    self._link(f"node/{source}", "out", bandwidth, queue_bytes),
                    self._link(f"node/{target}", "in", bandwidth, queue_bytes),
                )
        return Route(rtt_ns // 2, jitter_ns, loss, links)

    def _link(self, first: str, second: str, bandwidth: int, queue_bytes: int) -> Link:
        link = self._links.get((first, second))
        if link is None:
            link = self._links[(first, second)] = Link(f"{first} -> {second}", bandwidth, queue_bytes)
        link.bandwidth_bit_per_s = bandwidth
        link.queue_bytes = queue_bytes
        return link

    def _is_end(self, end: str, vertex: Vertex) -> bool:
        kind, _, name = end.partition("/")
        if kind == "zone":
            return vertex.zone == name and vertex.outside_rtt_ns is None
        return vertex.name == name

    def _applies(self, edge: Edge, near: Vertex, far: Vertex) -> bool:
        first, second = edge.ends
        return (self._is_end(first, near) and self._is_end(second, far)) or (
            self._is_end(second, near) and self._is_end(first, far)
        )

    def _check(self, edge: Edge) -> None:
        for end in edge.ends:
            kind = end.partition("/")[0]
            if kind not in {"node", "zone", "outside"} or not any(self._is_end(end, vertex) for vertex in self.vertices):
                raise UsageError(f"the network has no {end!r}: the end of a link is node/…, zone/… or outside/…")

    # ---- faults ------------------------------------------------------------------------------------------------------

    def add_fault(self, key: int, edge: Edge) -> None:
        """Let an edge hold on top of what is declared, until `remove_fault`."""
        self._check(edge)
        self._faults[key] = edge
        self._routes.clear()

    def remove_fault(self, key: int) -> None:
        """What was before holds again."""
        self._faults.pop(key, None)
        self._routes.clear()

    def cut_off(self, hosts: Iterable[str]) -> None:
        """Nothing gets to these hosts or from them to another host any more."""
        for host in hosts:
            self._cut[host] = self._cut.get(host, 0) + 1
        self._routes.clear()

    def reconnect(self, hosts: Iterable[str]) -> None:
        """Undo one `cut_off`."""
        for host in hosts:
            self._cut[host] = max(0, self._cut.get(host, 0) - 1)
        self._routes.clear()

    def with_edges(self, edges: Iterable[Edge]) -> Topology:
        """The same hosts with further declared links."""
        return replace(self, edges=(*self.edges, *edges))

    # ---- as a graph --------------------------------------------------------------------------------------------------

    def graph(self) -> nx.DiGraph[str]:
        """The hosts and their routes as a networkx graph; edges carry `delay_ns`, `jitter_ns`, `loss`, `bandwidth_bit_per_s`."""
        import networkx as nx

        graph: nx.DiGraph[str] = nx.DiGraph()
        for vertex in self.vertices:
            graph.add_node(vertex.name, zone=vertex.zone, outside=vertex.outside_rtt_ns is not None)
        for near in self.vertices:
            for far in self.vertices:
                if near is far:
                    continue
                route = self.route(near.name, far.name)
                if route is not None:
                    graph.add_edge(
                        near.name, far.name, delay_ns=route.delay_ns, jitter_ns=route.jitter_ns, loss=route.loss,
                        bandwidth_bit_per_s=min((link.bandwidth_bit_per_s for link in route.links), default=None),
                    )
        return graph
