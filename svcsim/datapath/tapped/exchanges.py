"""Requests and answers on connections, over smooth paths and rough ones, with a tap on each train."""

from __future__ import annotations

from collections.abc import Sequence

from svcsim.datapath.capture import Point, Tap
from svcsim.datapath.connection import RESPONSE, Connection, Request
from svcsim.datapath.conversation import LARGEST_DATAGRAM_BYTES, Conversation, Parcel, Train
from svcsim.datapath.exchange import Exchanges
from svcsim.datapath.fabric import Fabric
from svcsim.datapath.host import Host, Namespace
from svcsim.datapath.rough import RoughPath
from svcsim.datapath.tapped.transfers import TappedTransfers
from svcsim.datapath.tracking import Tracked
from svcsim.linux.frames import ACK, FIN, HOST_UNREACHABLE, PORT_UNREACHABLE, RST
from svcsim.linux.packet import TCP
from svcsim.linux.tcp import INITIAL_WINDOW_BYTES, SEGMENT_BYTES

_NODE_FORGOT = "the node knows no such connection"
_NOBODY_KNOWS = "the node forgot the connection and chose an endpoint anew, which knows no such connection"

Steps = list[tuple[int, Point | None]]


class TappedRough(RoughPath):
    """Paths with loss: which packets of a train are lost and come again."""

    __slots__ = ("tap",)

    def __init__(self, fabric: Fabric, exchanges: TappedExchanges) -> None:
        super().__init__(fabric, exchanges)
        self.tap = exchanges.tap

    def _pass(self, request: Request, near: Host, far: Host, size_bytes: int, head_ns: int, tail_ns: int) -> int | None:
        """As it is; the draws of loss are repeated, since they depend on connection and packet alone."""
        connection = request.connection
        ordinal = connection.ordinal
        arrival_ns = super()._pass(request, near, far, size_bytes, head_ns, tail_ns)
        conversation = self.tap.of(connection)
        train = None if conversation is None else conversation.trains(forward=request.phase != RESPONSE).get(request)
        route = self.fabric.route(near, far)
        if conversation is None or train is None or route is None:
            return arrival_ns
        if arrival_ns is None:
            self.tap.note(connection, train.parcels, f"lost: {self.cause}")
        elif route.loss and not train.late:
            packets = max(1, -(-size_bytes // SEGMENT_BYTES))
            draw, key = self.fabric.loss.uniform, connection.key
            lost = sorted({i for i in range(packets) if draw(key, ordinal + 1 + i) < route.loss})
            if lost:
                self._send_again(request, conversation, train, lost, near)
        return arrival_ns

    def _send_again(self, request: Request, conversation: Conversation, train: Train, lost: list[int], near: Host) -> None:
        """The lost packets of a train that goes on: cut the train around them, and show them a round trip later."""
        forward = request.phase != RESPONSE
        exchanges, connection = self._exchanges, request.connection
        assert isinstance(exchanges, TappedExchanges)
        count = max(1, -(-len(train.data) // SEGMENT_BYTES))
        places = sorted({min(place, count - 1) for place in lost})  # earlier windows were shown as they arrived
        now = self.fabric.clock.now
        again_ns = now + exchanges.round_trip_ns(connection)
        unit = connection.entry_host.charges.unit_bytes
        whole, edge = [], 0
        late = []
        for place in places:
            start = place * SEGMENT_BYTES
            if start > edge:
                whole += conversation.cut(train.data[edge:start], train.begin + edge, now, unit, forward=forward)
            edge = min(len(train.data), start + SEGMENT_BYTES)
            late += conversation.cut(train.data[start:edge], train.begin + start, again_ns, unit, forward=forward)
        if edge < len(train.data):
            whole += conversation.cut(train.data[edge:], train.begin + edge, now, unit, forward=forward)
        self.tap.note(connection, train.parcels, f"{len(late)} of the train's segments lost: {self.cause}")
        train.parcels, train.late = whole or train.parcels, late
        hosts = exchanges.hosts_of(connection)
        until = hosts.index(near)
        for parcel in late:
            steps = exchanges.crossings(connection, hosts, again_ns, forward=forward, until=until)
            self.tap.show(conversation, parcel, TCP, steps, forward=forward, comment="retransmission")


class TappedExchanges(Exchanges):
    """Established traffic: trains as packets, and the ACKs that the model only accounts for."""

    __slots__ = ("_balancing", "tap")

    def __init__(self, fabric: Fabric, tap: Tap) -> None:
        self.tap = tap
        self._balancing: Request | None = None
        super().__init__(fabric)
        self.rough = TappedRough(fabric, self)
        self.transfers = TappedTransfers(fabric, self, tap)

    # ---- messages ----------------------------------------------------------------------------------------------------

    def send(self, request: Request) -> None:
        """As it is; the message becomes packets, a long one train by train."""
        connection = request.connection
        conversation = self.tap.begin(connection)
        if connection.is_tcp and request.request_bytes <= INITIAL_WINDOW_BYTES:
            self.message(conversation, request, forward=True)
        self._balancing = request
        super().send(request)
        self._balancing = None

    def respond(self, request: Request) -> None:
        """As it is; the answer becomes packets."""
        connection = request.connection
        conversation = self.tap.of(connection) if connection is not None else None
        is_long = connection is not None and connection.is_tcp and request.answer_bytes > INITIAL_WINDOW_BYTES
        if conversation is not None and connection.open and not is_long:
            self.message(conversation, request, forward=False)
        super().respond(request)

    def message(self, conversation: Conversation, request: Request, *, forward: bool) -> None:
        """Cut a message into packets."""
        connection = request.connection
        now = self._environment._now
        data = self.tap.payload(request, not forward)
        if not connection.is_tcp:
            train = Train(data[:LARGEST_DATAGRAM_BYTES], 0)
            sender, _ = conversation.ends(forward=forward)
            train.parcels = [Parcel(None, train.data, sender.next_ident())]
        else:
            unit = connection.entry_host.charges.unit_bytes
            sender, _ = conversation.ends(forward=forward)
            train = Train(data, sender.following)
            sender.following += len(data)
            train.parcels = conversation.cut(data, train.begin, now, unit, forward=forward)
        conversation.trains(forward=forward)[request] = train

    # ---- stations ----------------------------------------------------------------------------------------------------

    def _on_station_there(self, request: Request) -> None:
        """As it is; shows the train on both sides of the host."""
        self._show_station(request, forward=True)
        super()._on_station_there(request)

    def _on_station_back(self, request: Request) -> None:
        """As it is; shows the train on both sides of the host."""
        self._show_station(request, forward=False)
        super()._on_station_back(request)

    def _show_station(self, request: Request, *, forward: bool) -> None:
        connection, position = request.connection, request.position
        conversation = self.tap.of(connection) if connection is not None else None
        train = None if conversation is None else conversation.trains(forward=forward).get(request)
        if conversation is None or train is None:
            return
        now = self._environment._now
        passes = connection.generation == self.fabric.generation or self.revalidate(connection)
        stations = connection.forward if forward else connection.backward
        hosts = self.hosts_of(connection)
        if position >= len(stations) or position >= len(hosts):
            return
        i = position if forward else len(hosts) - 1 - position
        if request.transmission and position == 0 and not train.retransmitted:
            train.retransmitted = True
        if not self.tap.watches(hosts[i : i + 1]) or not hosts[i].up:
            return
        free, queue, cost_ns, _, _ = stations[position]
        start = free[queue] if free[queue] > now else now
        comment = ""
        if start - now > self._backlog_ns:
            comment = "dropped: softirq backlog"
        elif not passes:
            comment = "no answer will come: no path"
        if request.transmission and position == 0:
            comment = "; ".join(filter(None, (f"retransmission {request.transmission}", comment)))
        send_ns = self._send_ns(connection, forward=forward) if position == 0 else 0
        departure_ns = start + cost_ns + request.extra_ns + send_ns
        arrival_ns = now + send_ns
        first, last = self._sides(connection, hosts, i, forward=forward)
        if comment.startswith("dropped") or (not passes and position == len(hosts) - 1):
            last = None
        parcels = train.parcels
        tail_ns = max(arrival_ns, request.tail_ns) if connection.lossy and position else arrival_ns
        count = len(parcels)
        for k, parcel in enumerate(parcels):
            behind = count - 1 - k
            at_ns = arrival_ns + (0 if train.late else (tail_ns - arrival_ns) * k // max(1, count - 1) if count > 1 else 0)
            out_ns = max(at_ns, departure_ns - request.extra_ns * behind // count)
            self.tap.show(
                conversation, parcel, connection.protocol, [(at_ns, first), (out_ns, last)], forward=forward, comment=comment
            )
        if position and train.late:
            for parcel in train.late:
                steps = [(tail_ns, first), (max(departure_ns, tail_ns + cost_ns), last)]
                self.tap.show(conversation, parcel, connection.protocol, steps, forward=forward, comment="retransmission")

    def _sides(
        self, connection: Connection, hosts: Sequence[Host], i: int, *, forward: bool
    ) -> tuple[Point | None, Point | None]:
        """The interfaces by which a packet comes to a host and leaves it."""
        server: Namespace = connection.server_namespace
        left, right = self.tap.left(connection, hosts, i), self.tap.right(connection, hosts, i, server)
        return (left, right) if forward else (right, left)

    def _send_ns(self, connection: Connection, *, forward: bool) -> int:
        """What a packet takes from its sender's socket to the first interface."""
        stations = connection.forward if forward else connection.backward
        charges = (connection.namespace.host if forward else connection.server_host).charges
        if not stations:
            return 0
        if connection.is_tcp:
            return min(stations[0][3], charges.client_send_ns if forward else charges.server_send_ns)
        return min(stations[0][3], charges.udp_send_ns)

    def crossings(
        self, connection: Connection, hosts: Sequence[Host], at_ns: int, *, forward: bool, until: int | None = None,
        quick: bool = False,
    ) -> Steps:
        """When a packet that waits nowhere is on which interface, up to where the way is broken; or just up to a host's far side.

        A packet that the kernel sends by itself is `quick`: no process has to write it.
        """
        steps: Steps = []
        stations = connection.forward if forward else connection.backward
        send_ns = self._send_ns(connection, forward=forward)
        at_ns += 0 if quick else send_ns
        last = len(hosts) - 1
        for position, (_, _, cost_ns, delay_ns, _) in enumerate(stations[: len(hosts)]):
            i = position if forward else last - position
            if not hosts[i].up:
                break
            first, second = self._sides(connection, hosts, i, forward=forward)
            steps += [(at_ns, first), (at_ns + cost_ns, second)]
            if i == until or position == last:
                break
            if self.fabric.route(hosts[i], hosts[i + 1 if forward else i - 1]) is None:
                break
            at_ns += cost_ns + delay_ns - (send_ns if position == 0 else 0)
        return steps

    def pass_by(
        self, connection: Connection, conversation: Conversation, parcel: Parcel, at_ns: int, *, forward: bool,
        quick: bool = True, comment: str = "",
    ) -> int:
        """A packet that waits nowhere; returns when it is with its receiver."""
        hosts = self.hosts_of(connection)
        if self.tap.watches(hosts):
            steps = self.crossings(connection, hosts, at_ns, forward=forward, quick=quick)
            self.tap.show(conversation, parcel, connection.protocol, steps, forward=forward, comment=comment)
        stations = connection.forward if forward else connection.backward
        return at_ns + sum(station[2] + station[3] for station in stations)

    # ---- sockets -----------------------------------------------------------------------------------------------------

    def _on_server_socket(self, request: Request) -> None:
        """As it is; the server's kernel acknowledges."""
        connection = request.connection
        conversation = self.tap.of(connection)
        train = conversation.there.pop(request, None) if conversation is not None else None
        received = train is not None and connection.is_tcp and connection.server is not None and connection.open
        if conversation is not None and train is not None and received:
            now = self._environment._now
            conversation.received(train, now, forward=True)
            self.pass_by(connection, conversation, conversation.control(ACK, now, forward=False), now, forward=False)
        super()._on_server_socket(request)

    def deliver(self, request: Request, finish_ns: int) -> None:
        """As it is; the client's kernel acknowledges."""
        connection = request.connection
        conversation = self.tap.of(connection) if connection is not None else None
        train = conversation.back.pop(request, None) if conversation is not None else None
        if conversation is not None and train is not None and connection.is_tcp and connection.client is not None:
            conversation.received(train, finish_ns, forward=False)
            self.pass_by(connection, conversation, conversation.control(ACK, finish_ns, forward=True), finish_ns, forward=True)
        super().deliver(request, finish_ns)

    # ---- resets ------------------------------------------------------------------------------------------------------

    def send_reset(self, connection: Connection, *, by_entry_host: bool = False) -> None:
        """As it is; a RST, or a FIN where the client has nothing unanswered on the connection."""
        conversation = self.tap.of(connection)
        if conversation is not None and connection.is_tcp and connection.backward and not self.transfers.is_sending(connection):
            now = self._environment._now
            if by_entry_host:
                self._forgotten(connection, conversation, now)
            elif connection.server_host.up:
                request = connection.request
                orderly = connection.server is not None and (request is None or request.phase == RESPONSE)
                if orderly:
                    parcel = conversation.control(FIN | ACK, now, forward=False)
                    arrival_ns = self.pass_by(connection, conversation, parcel, now, forward=False, quick=False)
                    conversation.server.following += 1
                    conversation.client.seen = conversation.server.following
                    parcel = conversation.control(FIN | ACK, arrival_ns, forward=True)
                    conversation.client.following += 1
                    arrival_ns = self.pass_by(connection, conversation, parcel, arrival_ns, forward=True, quick=False)
                    conversation.server.seen = conversation.client.following
                    parcel = conversation.control(ACK, arrival_ns, forward=False)
                    self.pass_by(connection, conversation, parcel, arrival_ns, forward=False)
                else:
                    parcel = conversation.control(RST | ACK, now, forward=False)
                    self.pass_by(connection, conversation, parcel, now, forward=False)
        super().send_reset(connection, by_entry_host=by_entry_host)
        self.tap.end(connection)

    def _forgotten(self, connection: Connection, conversation: Conversation, now: int) -> None:
        """The node that translated the flow has no entry any more: it takes the segment for its own and answers with a RST."""
        hosts = self.hosts_of(connection)
        i = hosts.index(connection.entry_host)
        if not self.tap.watches(hosts[: i + 1]):
            return
        request = self._balancing or connection.request
        train = conversation.there.get(request) if request is not None else None
        if train is not None and request is not None and request.position == 0 and connection.flow is not None:
            for parcel in train.parcels:
                steps = self.crossings(connection, hosts, now, forward=True, until=i)[: 2 * i + 1]
                self.tap.show(conversation, parcel, TCP, steps, forward=True)
        self.tap.show(
            conversation, conversation.bare_reset(forward=False), TCP, self.back_from(connection, hosts, i, now), forward=False,
            comment=_NOBODY_KNOWS if isinstance(connection.flow, Tracked) and connection.flow.astray else _NODE_FORGOT,
        )

    def back_from(self, connection: Connection, hosts: Sequence[Host], i: int, at_ns: int) -> Steps:
        """When a packet that host number `i` sends to the client is on which interface."""
        steps: Steps = [(at_ns, self.tap.left(connection, hosts, i))]
        for j in range(i, 0, -1):
            route = self.fabric.route(hosts[j], hosts[j - 1])
            if route is None:
                break
            at_ns += route.delay_ns
            steps += [(at_ns, self.tap.right(connection, hosts, j - 1, None)), (at_ns, self.tap.left(connection, hosts, j - 1))]
        return steps

    def icmp(
        self, connection: Connection, host: Host, about: Parcel, kind: tuple[int, int], at_ns: int, *, pod: bool = False
    ) -> None:
        """An ICMP error from a host, or from the pod that the packet had reached, to the client."""
        conversation = self.tap.of(connection)
        hosts = self.hosts_of(connection)
        if conversation is None or host not in hosts or not self.tap.watches(hosts):
            return
        i = hosts.index(host)
        own = host.namespace.towards(connection.client_address) or host.address
        beyond = kind == HOST_UNREACHABLE or pod
        rewritten = beyond and connection.rewritten
        origin = connection.backend_address if pod else own
        parcel = Parcel.error(kind, about, origin, connection.destination if rewritten else origin)
        steps = self.back_from(connection, hosts, i, at_ns)
        if pod:
            steps.insert(0, (at_ns, self.tap.right(connection, hosts, i, connection.server_namespace)))
        self.tap.show(conversation, parcel, connection.protocol, steps, forward=False)

    def _send_port_unreachable(self, request: Request) -> None:
        """As it is; shows the error."""
        connection = request.connection
        conversation = self.tap.of(connection)
        if conversation is not None:
            data = self.tap.payload(request, False)
            self.icmp(
                connection, connection.server_host, Parcel(None, data, 0), PORT_UNREACHABLE, self._environment._now, pod=True
            )
        super()._send_port_unreachable(request)

    def _disconnect(self, connection: Connection) -> None:
        """As it is; the conversation is over."""
        super()._disconnect(connection)
        self.tap.end(connection)
