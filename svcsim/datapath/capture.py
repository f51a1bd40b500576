"""A tap on the interfaces of hosts: which packet crosses which interface when, in the order of time, into a capture file.

The model's events are few: a train is one at each host's queue, an ACK is none. The tap follows them (`svcsim.datapath.tapped`)
and puts each packet on each interface of a watched host at its instant: a pod's veth has the addresses that the pod sees, the
uplink those after NAT. What the model schedules is stamped with the model's instants; what it only accounts for (ACKs, FINs, the
windows before a message's last) crosses the same stations without waiting, but never overtakes packets of its own connection.

Instants may lie ahead of the clock, so packets wait in a heap and leave it in order, a little behind the clock.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from svcsim.datapath.conversation import Conversation, Parcel
from svcsim.datapath.fabric import Fabric
from svcsim.datapath.host import Host, Namespace
from svcsim.linux import frames
from svcsim.linux.address import format_endpoint, is_ipv6
from svcsim.linux.packet import TCP, UDP
from svcsim.results.pcapng import PcapngWriter
from svcsim.units import MS, S

if TYPE_CHECKING:
    from svcsim.datapath.connection import Connection, Request

INITIAL_HOPS = 64
LAG_NS = 100 * MS
"""How far the file is behind the clock: nothing is put on an interface at an instant longer ago."""
LINGER_NS = 5 * S
"""How long a closed connection is remembered for packets that are still on their way."""
UPLINK, LOOPBACK = "eth0", "lo"
_ROUTER = "router"
_NOBODY = bytes(6)

Payload = Callable[["Request", bool], bytes]
"""What a request (False) or its answer (True) says; of the length that the model has for it."""
Names = Callable[[], Iterable[tuple[int, str]]]
"""Every address that has a name now."""
Explain = Callable[["Connection", Host], str]
"""What a host's rules did to a first packet, beyond the addresses, such as the chain that chose; empty if nothing."""


class View(NamedTuple):
    """The addresses and ports of a connection's packets on one side of a translation, the client's first."""

    client: int
    client_port: int
    server: int
    server_port: int


@dataclass(frozen=True, slots=True)
class Point:
    """One interface on a connection's way, with what frames look like there.

    `near` and `far` are the Ethernet addresses towards client and server; hops are what is left of the TTL there and back.
    `place` tells the interface apart from others on the same way.
    """

    capture: Capture
    interface: Namespace | str
    view: View
    back_view: View
    near: bytes
    far: bytes
    hops: int
    hops_back: int
    place: int
    translated: bool


class Walk:
    """A packet's way over watched interfaces, each with its instant; `comment` belongs to the last of them.

    Of two on an interface at one instant, the one that was shown first is there first: `order` counts them.
    """

    __slots__ = ("comment", "conversation", "forward", "order", "parcel", "protocol", "stage", "steps")

    def __init__(
        self, conversation: Conversation, parcel: Parcel, protocol: int, steps: list[tuple[int, Point]], comment: str, *,
        forward: bool,
    ) -> None:
        self.conversation = conversation
        self.parcel = parcel
        self.protocol = protocol
        self.steps = steps
        self.stage = self.order = 0
        self.comment = comment
        self.forward = forward


class Capture:
    """The file of one host: its interfaces are described when they first carry a packet, pods' names when they appear."""

    __slots__ = ("_fabric", "_interfaces", "_known", "_names", "host", "writer")

    def __init__(self, host: Host, writer: PcapngWriter, names: Names, fabric: Fabric) -> None:
        self.host = host
        self.writer = writer
        self._fabric = fabric
        self._interfaces: dict[int | str, int] = {}
        self._names = names
        self._known: set[int] = set()
        self._tell_names()
        self._interfaces[UPLINK] = writer.interface(UPLINK, f"uplink of {host.name}")
        for namespace in fabric.namespaces.values():
            if namespace.host is host and not namespace.is_host:
                self.interface(namespace)

    def interface(self, of: Namespace | str) -> int:
        """The number of a pod's veth, or of an interface by name."""
        key = of if isinstance(of, str) else of.index
        number = self._interfaces.get(key)
        if number is None:
            if isinstance(of, str):
                number = self.writer.interface(of, "loopback" if of == LOOPBACK else "")
            else:
                self._tell_names()
                number = self.writer.interface(f"veth{_digest(of.name, 4).hex()}", f"pod {of.name}")
            self._interfaces[key] = number
        return number

    def _tell_names(self) -> None:
        fresh = [(address, name) for address, name in self._names() if address and address not in self._known]
        self._known.update(address for address, _ in fresh)
        self.writer.names((frames.packed(address), name) for address, name in fresh)


class Tap:
    """Watches hosts. One object a world; `svcsim.datapath.tapped` calls it at the steps of packets."""

    __slots__ = (
        "_captures", "_closed", "_conversations", "_count", "_from_ns", "_heap", "_until_ns", "_written_ns", "datagram",
        "explain", "fabric", "payload",
    )

    def __init__(self, fabric: Fabric, payload: Payload, explain: Explain, from_ns: int = 0, until_ns: int | None = None) -> None:
        self.fabric = fabric
        self.payload = payload
        self.explain = explain
        self.datagram: Request | None = None
        self._captures: dict[int, Capture] = {}
        self._from_ns = from_ns
        self._until_ns = (1 << 63) if until_ns is None else until_ns
        self._heap: list[tuple[int, int, Walk]] = []
        self._count = 0
        self._written_ns = 0
        self._conversations: dict[Connection, Conversation] = {}
        self._closed: deque[tuple[int, Connection]] = deque()

    def watch(self, host: Host, writer: PcapngWriter, names: Names) -> None:
        """Write the packets on this host's interfaces from now on."""
        self._captures[host.index] = Capture(host, writer, names, self.fabric)

    # ---- conversations -----------------------------------------------------------------------------------------------

    def begin(self, connection: Connection) -> Conversation:
        """The connection's conversation, new if it has none."""
        found = self._conversations.get(connection)
        if found is None:
            found = self._conversations[connection] = Conversation(connection.key * 65536 + connection.client_port)
        return found

    def of(self, connection: Connection) -> Conversation | None:
        """The connection's conversation while it is known."""
        return self._conversations.get(connection)

    def end(self, connection: Connection) -> None:
        """Nothing new will be said; what is on its way may still arrive."""
        if connection in self._conversations:
            self._closed.append((self.fabric.clock.now + LINGER_NS, connection))

    # ---- where -------------------------------------------------------------------------------------------------------

    def watches(self, hosts: Sequence[Host]) -> bool:
        """Whether any of these hosts is watched."""
        captures = self._captures
        return any(host.index in captures for host in hosts)

    def left(self, connection: Connection, hosts: Sequence[Host], i: int) -> Point | None:
        """The interface of host number `i` of the way towards the client; None if it has none, or nobody watches."""
        host = hosts[i]
        capture = self._captures.get(host.index)
        namespace = connection.namespace
        if capture is None or (i == 0 and namespace.is_host):
            return None
        translated = i > hosts.index(connection.entry_host)
        if i:
            return self._point(capture, UPLINK, connection, hosts, i, 2 * i, self._peer(hosts[i - 1]), _mac(host.name),
                               translated=translated)
        return self._point(capture, namespace, connection, hosts, 0, 0, _mac(namespace.name), _mac(f"{host.name}/bridge"),
                           translated=translated)

    def right(self, connection: Connection, hosts: Sequence[Host], i: int, server: Namespace | None) -> Point | None:
        """The interface of host number `i` towards the server, which is in `server` if the way ends there."""
        host = hosts[i]
        capture = self._captures.get(host.index)
        if capture is None:
            return None
        translated = i >= hosts.index(connection.entry_host)
        place = 2 * i + 1
        if i < len(hosts) - 1:
            return self._point(capture, UPLINK, connection, hosts, i, place, _mac(host.name), self._peer(hosts[i + 1]),
                               translated=translated)
        if server is None:
            return None
        if server.is_host:
            if i or not connection.namespace.is_host:
                return None
            return self._point(capture, LOOPBACK, connection, hosts, 0, place, _NOBODY, _NOBODY, translated=True)
        return self._point(capture, server, connection, hosts, i, place, _mac(f"{host.name}/bridge"), _mac(server.name),
                           translated=translated)

    def _point(
        self, capture: Capture, interface: Namespace | str, connection: Connection, hosts: Sequence[Host], i: int, place: int,
        near: bytes, far: bytes, *, translated: bool,
    ) -> Point:
        own = View(connection.client_address, connection.client_port, connection.destination, connection.destination_port)
        view = back_view = own
        if translated:
            view = back_view = View(
                connection.source, connection.source_port, connection.backend_address, connection.backend_port
            )
            if interface == LOOPBACK:
                back_view = own  # a local answer is translated back before it leaves (POSTROUTING)
        last, routed = len(hosts) - 1, self.fabric.settings.segment == "l3"
        right = place % 2
        passed = i + right - (1 if connection.namespace.is_host else 0)
        passed_back = last - i + (1 - right) - (1 if connection.server_namespace.is_host else 0)
        wires, wires_back = (i, last - i) if routed else (0, 0)
        return Point(
            capture, interface, view, back_view, near, far, INITIAL_HOPS - max(0, passed) - wires,
            INITIAL_HOPS - max(0, passed_back) - wires_back, place, translated,
        )

    def _peer(self, host: Host) -> bytes:
        return _mac(host.name if self.fabric.settings.segment == "l2" else _ROUTER)

    # ---- what and when -----------------------------------------------------------------------------------------------

    def show(
        self, conversation: Conversation, parcel: Parcel, protocol: int, steps: Iterable[tuple[int, Point | None]], *,
        forward: bool, comment: str = "",
    ) -> None:
        """Put a packet on interfaces at instants; the comment belongs to the last one."""
        seen = [(at_ns, point) for at_ns, point in steps if point is not None]
        if not seen:
            conversation.newest = None
            return
        walk = Walk(conversation, parcel, protocol, seen, comment, forward=forward)
        conversation.newest = walk
        self._count += 1
        walk.order = self._count
        self._push(seen[0][0], walk)
        self._flush(self.fabric.clock.now - LAG_NS)

    def note(self, connection: Connection, about: Sequence[Parcel | None], comment: str) -> None:
        """Say something of the packet that was shown last, such as where it was lost, if it is one of these."""
        conversation = self._conversations.get(connection)
        walk = conversation.newest if conversation is not None else None
        if isinstance(walk, Walk) and walk.parcel in about:
            walk.comment = f"{walk.comment}; {comment}" if walk.comment else comment

    def close(self) -> None:
        """The run is over: write what waits."""
        self._flush(1 << 63)
        self._conversations.clear()

    def _push(self, at_ns: int, walk: Walk) -> None:
        heapq.heappush(self._heap, (max(at_ns, self._written_ns), walk.order, walk))

    def _flush(self, until_ns: int) -> None:
        heap = self._heap
        while heap and heap[0][0] < until_ns:
            at_ns, _, walk = heapq.heappop(heap)
            _, point = walk.steps[walk.stage]
            key = (point.capture.host.index, point.place, walk.forward)
            last_ns = walk.conversation.last_ns
            due_ns = last_ns.get(key, 0)
            if due_ns > at_ns:
                late_ns = due_ns - at_ns
                walk.steps = [(step_ns + late_ns, each) for step_ns, each in walk.steps]
                self._push(due_ns, walk)
                continue
            last_ns[key] = at_ns
            self._written_ns = at_ns
            if self._from_ns <= at_ns < self._until_ns:
                self._write(walk, at_ns, point)
            walk.stage += 1
            if walk.stage < len(walk.steps):
                self._push(walk.steps[walk.stage][0], walk)
        closed = self._closed
        while closed and closed[0][0] < until_ns:
            self._conversations.pop(closed.popleft()[1], None)

    def _write(self, walk: Walk, at_ns: int, point: Point) -> None:
        packet = _packet(walk.parcel, walk.protocol, point, forward=walk.forward)
        source, destination = (point.near, point.far) if walk.forward else (point.far, point.near)
        comment = walk.comment if walk.stage == len(walk.steps) - 1 else ""
        capture = point.capture
        frame = frames.ethernet_frame(source, destination, packet)
        capture.writer.packet(capture.interface(point.interface), at_ns, frame, comment)


def rewritten_text(connection: Connection, rules: int, chain: str) -> str:
    """What became of a first packet, for its comment."""
    parts = []
    backend = format_endpoint(connection.backend_address, connection.backend_port)
    if connection.backend_address != connection.destination or connection.backend_port != connection.destination_port:
        whose = f" by {chain}" if chain else ""
        parts.append(f"DNAT{whose}: {format_endpoint(connection.destination, connection.destination_port)} to {backend}")
    if connection.source != connection.client_address:
        parts.append(f"masquerade: source is {format_endpoint(connection.source, connection.source_port)}")
    if rules:
        parts.append(f"{rules} rule{'' if rules == 1 else 's'} examined")
    return "; ".join(parts)


def _packet(parcel: Parcel, protocol: int, point: Point, *, forward: bool) -> bytes:
    """The IP packet as it is at an interface."""
    view = point.view if forward else point.back_view
    source, source_port, destination, destination_port = view
    if not forward:
        source, source_port, destination, destination_port = destination, destination_port, source, source_port
    hops = point.hops if forward else point.hops_back
    if parcel.kind is not None and parcel.quoted is not None:
        about = _packet(parcel.quoted, protocol, point, forward=True)
        source = parcel.origin if point.translated else parcel.origin_for_client
        content = frames.icmp_error(source, destination, parcel.kind, about)
        kind = frames.ICMPV6 if is_ipv6(source) else frames.ICMP
        return frames.ip_packet(source, destination, kind, hops, 0, content, fragments=True, tos=frames.TOS_OF_ERRORS)
    if protocol == TCP and parcel.header is not None:
        content = frames.tcp_segment(source, source_port, destination, destination_port, parcel.header, parcel.payload)
        return frames.ip_packet(source, destination, TCP, hops, parcel.ident, content)
    content = frames.udp_datagram(source, source_port, destination, destination_port, parcel.payload)
    return frames.ip_packet(source, destination, UDP, hops, parcel.ident, content)


def _digest(text: str, size: int) -> bytes:
    return blake2b(text.encode(), digest_size=size).digest()


def _mac(name: str) -> bytes:
    """A made-up Ethernet address, locally administered."""
    return b"\x02" + _digest(name, 5)
