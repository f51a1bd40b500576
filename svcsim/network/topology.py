"""Who reaches whom and how: hosts in zones, the delays between them, declared links, and what faults do to them.

Without declared links the network is a star a zone: two hosts are as far from each other as their zones say. A declared link
changes the path between two ends (a host, or all hosts of a zone). Links that name switches make a network of their own: between
hosts that it connects a route is the path of least delay (`svcsim.network.switched`). Faults come on top of either.

Ends are written `node/NAME`, `outside/NAME`, `zone/NAME` and `switch/NAME`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from svcsim.errors import UsageError
from svcsim.network.links import Link
from svcsim.spelling import nearest

if TYPE_CHECKING:
    import networkx as nx

    from svcsim.network.switched import SwitchedNetwork

END_KINDS = ("node", "outside", "zone", "switch")


@dataclass(frozen=True, slots=True)
class Route:
    """One direction between two hosts: pure delay (half the round trip), mean jitter, loss of a packet, finite links."""

    delay_ns: int
    jitter_ns: int = 0
    loss: float = 0.0
    links: tuple[Link, ...] = ()
    is_rough: bool = field(init=False)
    """Whether packets fare differently from one another on it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_rough", bool(self.jitter_ns or self.loss or self.links))


@dataclass(frozen=True, slots=True)
class Vertex:
    """A host: a node in a zone, or one outside with its own distance to every node."""

    name: str
    zone: str = ""
    outside_rtt_ns: int | None = None

    @property
    def end(self) -> str:
        """How the ends of links name it."""
        return f"outside/{self.name}" if self.outside_rtt_ns is not None else f"node/{self.name}"


@dataclass(frozen=True, slots=True)
class Edge:
    """A declared link: what is particular between two ends; None leaves what holds there without it."""

    ends: tuple[str, str]
    rtt_ns: int | None = None
    jitter_ns: int | None = None
    bandwidth_bit_per_s: int | None = None
    queue_bytes: int | None = None
    loss: float | None = None


@dataclass(frozen=True, slots=True)
class Disturbance:
    """What a fault adds to every route from or to one of the ends `on`; with `to`, only to those between the two.

    The delay is added in each direction; losses are independent of one another.
    """

    on: tuple[str, ...]
    to: tuple[str, ...] = ()
    delay_ns: int = 0
    jitter_ns: int = 0
    loss: float = 0.0


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
    """The network of a world. `generation` grows with every fault; a route holds as long as it stays."""

    vertices: tuple[Vertex, ...]
    defaults: Defaults
    edges: tuple[Edge, ...] = ()
    generation: int = 0
    _by_name: dict[str, Vertex] = field(init=False)
    _switched: SwitchedNetwork | None = field(default=None, init=False)
    _routes: dict[tuple[str, str], Route | None] = field(default_factory=dict, init=False)
    _links: dict[tuple[str, str], Link] = field(default_factory=dict, init=False)
    _faults: dict[int, Disturbance] = field(default_factory=dict, init=False)
    _cut: dict[str, int] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._by_name = {vertex.name: vertex for vertex in self.vertices}
        for edge in self.edges:
            self._check(edge.ends)
        if any(end.startswith("switch/") for edge in self.edges for end in edge.ends):
            from svcsim.network.switched import SwitchedNetwork

            self._switched = SwitchedNetwork(self.vertices, self.edges, self.defaults)

    def route(self, source: str, target: str) -> Route | None:
        """How packets go from host to host now; None if nothing gets there."""
        key = (source, target)
        try:
            return self._routes[key]
        except KeyError:
            route = self._routes[key] = self._compute(source, target)
            return route

    def _compute(self, source: str, target: str) -> Route | None:
        near, far = self._by_name[source], self._by_name[target]
        if source == target:
            return Route(0)
        if self._cut.get(source) or self._cut.get(target):
            return None
        path: tuple[Edge, ...] | None = None
        if self._switched is not None:
            path = self._switched.path(near, far)
        if path is None:
            return self._disturbed(self._direct(near, far), near, far, ())
        route, switches = self._along(near, path)
        return self._disturbed(route, near, far, switches)

    def _direct(self, near: Vertex, far: Vertex) -> Route:
        defaults = self.defaults
        outside_ns = [vertex.outside_rtt_ns for vertex in (near, far) if vertex.outside_rtt_ns is not None]
        if outside_ns:
            rtt_ns = sum(outside_ns)
        else:
            rtt_ns = defaults.same_zone_rtt_ns if near.zone == far.zone else defaults.cross_zone_rtt_ns
        jitter_ns, loss = defaults.jitter_ns, defaults.loss
        bandwidth, queue_bytes = defaults.bandwidth_bit_per_s, defaults.queue_bytes
        own: Edge | None = None
        for edge in self.edges:
            first, second = edge.ends
            if not (matches(first, near) and matches(second, far)) and not (matches(second, near) and matches(first, far)):
                continue
            rtt_ns = rtt_ns if edge.rtt_ns is None else edge.rtt_ns
            jitter_ns = jitter_ns if edge.jitter_ns is None else edge.jitter_ns
            loss = loss if edge.loss is None else edge.loss
            queue_bytes = queue_bytes if edge.queue_bytes is None else edge.queue_bytes
            if edge.bandwidth_bit_per_s is not None:
                bandwidth, own = edge.bandwidth_bit_per_s, edge
        links: tuple[Link, ...] = ()
        if own is not None and bandwidth is not None:
            first, second = own.ends if matches(own.ends[0], near) and matches(own.ends[1], far) else own.ends[::-1]
            links = (self._link(first, second, bandwidth, queue_bytes),)
        elif bandwidth is not None:
            links = (
                self._link(near.end, "network", bandwidth, queue_bytes), self._link("network", far.end, bandwidth, queue_bytes)
            )
        return Route(rtt_ns // 2, jitter_ns, loss, links)

    def _along(self, near: Vertex, path: tuple[Edge, ...]) -> tuple[Route, tuple[str, ...]]:
        """The route over the edges of a path, and the switches that it passes."""
        at, delay_ns, jitter_ns, kept = near.end, 0, 0, 1.0
        links: list[Link] = []
        passed: list[str] = []
        for edge in path:
            beyond = edge.ends[1] if edge.ends[0] == at else edge.ends[0]
            delay_ns += (edge.rtt_ns or 0) // 2
            jitter_ns += edge.jitter_ns or 0
            kept *= 1.0 - (edge.loss or 0.0)
            if edge.bandwidth_bit_per_s is not None:
                queue_bytes = self.defaults.queue_bytes if edge.queue_bytes is None else edge.queue_bytes
                links.append(self._link(at, beyond, edge.bandwidth_bit_per_s, queue_bytes))
            if beyond.startswith("switch/"):
                passed.append(beyond)
            at = beyond
        return Route(delay_ns, jitter_ns, 1.0 - kept, tuple(links)), tuple(passed)

    def _disturbed(self, route: Route, near: Vertex, far: Vertex, switches: tuple[str, ...]) -> Route:
        delay_ns, jitter_ns, kept = route.delay_ns, route.jitter_ns, 1.0 - route.loss
        for fault in self._faults.values():
            if _concerns(fault, near, far, switches):
                delay_ns += fault.delay_ns
                jitter_ns += fault.jitter_ns
                kept *= 1.0 - fault.loss
        if (delay_ns, jitter_ns) == (route.delay_ns, route.jitter_ns) and kept == 1.0 - route.loss:
            return route
        return Route(delay_ns, jitter_ns, 1.0 - kept, route.links)

    def _link(self, first: str, second: str, bandwidth: int, queue_bytes: int) -> Link:
        link = self._links.get((first, second))
        if link is None:
            link = self._links[(first, second)] = Link(f"{first} -> {second}", bandwidth, queue_bytes)
        return link

    def links(self) -> list[Link]:
        """The finite links that routes have used so far."""
        return list(self._links.values())

    def _check(self, ends: Iterable[str]) -> None:
        for end in ends:
            kind, _, name = end.partition("/")
            if kind not in END_KINDS or not name:
                raise UsageError(f"the end of a link is node/…, zone/…, outside/… or switch/…, not {end!r}")
            if kind == "switch":
                continue
            if not any(matches(end, vertex) for vertex in self.vertices):
                known = {vertex.end for vertex in self.vertices}
                known |= {f"zone/{vertex.zone}" for vertex in self.vertices if vertex.zone}
                raise UsageError(f"the network has no {end!r}{nearest(end, known)}")

    # ---- faults ------------------------------------------------------------------------------------------------------

    def add_fault(self, key: int, disturbance: Disturbance) -> None:
        """Let a disturbance hold until `remove_fault` is called with the same key."""
        self._check((*disturbance.on, *disturbance.to))
        self._faults[key] = disturbance
        self._changed()

    def remove_fault(self, key: int) -> None:
        """What was before holds again."""
        self._faults.pop(key, None)
        self._changed()

    def cut_off(self, hosts: Iterable[str]) -> None:
        """Nothing gets to these hosts or from them to another host any more, in either direction."""
        for host in hosts:
            self._cut[host] = self._cut.get(host, 0) + 1
        self._changed()

    def reconnect(self, hosts: Iterable[str]) -> None:
        """Undo one `cut_off`."""
        for host in hosts:
            self._cut[host] = max(0, self._cut.get(host, 0) - 1)
        self._changed()

    def _changed(self) -> None:
        self._routes.clear()
        self.generation += 1

    # ---- as a graph --------------------------------------------------------------------------------------------------

    def graph(self) -> nx.Graph[str]:
        """The network as it is declared, as a networkx graph: vertices are ends, edges carry `delay_ns` (one way) and the rest.

        A host hangs on its zone, zones on each other, so that the path of least delay between two hosts is their route; declared
        links between hosts or zones are edges of their own, marked `declared`.
        """
        from svcsim.network.switched import graph_of

        return graph_of(self.vertices, self.edges, self.defaults)


def matches(end: str, vertex: Vertex) -> bool:
    """Whether a host is what an end names, or lies in the zone that it names."""
    kind, _, name = end.partition("/")
    if kind == "zone":
        return vertex.zone == name and vertex.outside_rtt_ns is None
    return end == vertex.end


def _concerns(fault: Disturbance, near: Vertex, far: Vertex, switches: tuple[str, ...]) -> bool:
    def among(ends: tuple[str, ...], vertex: Vertex) -> bool:
        return any(matches(end, vertex) for end in ends)

    near_on = among(fault.on, near)
    far_on = among(fault.on, far)
    switch_on = any(end in switches for end in fault.on)
    if not fault.to:
        return near_on or far_on or switch_on
    near_to = among(fault.to, near)
    far_to = among(fault.to, far)
    switch_to = any(end in switches for end in fault.to)
    return (
        (near_on and (far_to or switch_to))
        or (far_on and (near_to or switch_to))
        or (switch_on and (near_to or far_to or switch_to))
    )
