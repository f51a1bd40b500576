"""Paths that are not smooth: jitter, loss, and links of finite bandwidth with a queue.

On such a path each train asks its route what happens to it when it leaves a host. Loss acts on packets: if any of a train is
lost, TCP sends the tail again, a round trip later where three packets behind tell of the loss (duplicate acknowledgements,
RFC 5681), else after its retransmission time-out. A finite link is a FIFO by arithmetic.

A train is not stored and forwarded whole: the next station works on its head while its tail is still on the wire.
`Request.tail_ns` is when the last packet reaches the host that the train is at; no station is done with the train before it
is done with that packet, and a socket has the message when it has the last one.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from svcsim.datapath.connection import Connection, Request
from svcsim.datapath.fabric import Fabric
from svcsim.datapath.host import Host
from svcsim.datapath.multiplexed import MultiplexedConnection
from svcsim.engine.hop import Step
from svcsim.linux.tcp import INITIAL_WINDOW_SEGMENTS, SEGMENT_BYTES
from svcsim.results.records import Flag

if TYPE_CHECKING:
    from svcsim.datapath.exchange import Exchanges
    from svcsim.datapath.transfer import Sender
    from svcsim.network.topology import Route

DUPLICATE_ACKNOWLEDGEMENTS = 3
_RETRANSMITTED = int(Flag.RETRANSMITTED)


class RoughPath:
    """The steps between hosts on such paths; `cause` says why the last train or packet was lost."""

    __slots__ = ("_arrived", "_exchanges", "cause", "fabric")

    def __init__(self, fabric: Fabric, exchanges: Exchanges) -> None:
        self.fabric = fabric
        self._exchanges = exchanges
        self._arrived: Step = (self._on_client_socket,)
        self.cause = ""

    def forward(self, request: Request, departure_ns: int, cost_ns: int, delay_ns: int, step: Step) -> None:
        """The request's train leaves a host, which spent `cost_ns` on a packet, for the next host or the server's socket."""
        hosts = self._exchanges.hosts_of(request.connection)
        position = request.position
        tail_ns = departure_ns if position == 1 else max(departure_ns, request.tail_ns + cost_ns)
        if position == len(hosts):
            arrival_ns = tail_ns + delay_ns
            if isinstance(request.connection, MultiplexedConnection):
                step = self._exchanges.in_order.arrives
        else:
            near, far = hosts[position - 1], hosts[position]
            head_ns = self._pass(request, near, far, request.request_bytes, departure_ns + delay_ns, tail_ns + delay_ns)
            if head_ns is None:
                self._time_out(request.connection.client_sender)
                self._exchanges.lost(request, self.cause)
                return
            arrival_ns = head_ns
        request.callbacks = step
        self.fabric.schedule(request, arrival_ns - self.fabric.clock.now)

    def backward(self, request: Request, departure_ns: int, cost_ns: int, delay_ns: int, step: Step) -> None:
        """The answer's train leaves a host for the next one, or for the client's socket."""
        hosts = self._exchanges.hosts_of(request.connection)
        position = request.position
        tail_ns = departure_ns if position == 1 else max(departure_ns, request.tail_ns + cost_ns)
        if position == len(hosts):
            arrival_ns = tail_ns + delay_ns
            is_shared = isinstance(request.connection, MultiplexedConnection)
            step = self._exchanges.in_order.arrives if is_shared else self._arrived
        else:
            near, far = hosts[-position], hosts[-position - 1]
            head_ns = self._pass(request, near, far, request.answer_bytes, departure_ns + delay_ns, tail_ns + delay_ns)
            if head_ns is None:
                self._time_out(request.connection.sender)
                self._exchanges.lost_answer(request, self.cause)
                return
            arrival_ns = head_ns
        request.callbacks = step
        self.fabric.schedule(request, arrival_ns - self.fabric.clock.now)

    def _on_client_socket(self, request: Request) -> None:
        self._exchanges.deliver(request, self.fabric.clock.now)

    def cross(self, connection: Connection, route: Route, size_bytes: int = 0) -> int | None:
        """What a packet meets beyond the route's delay when it leaves a host at `departure_ns`; None if it is lost."""
        fabric = self.fabric
        if route.loss and fabric.is_lost(connection, route):
            self.cause = "link loss"
            return None
        extra_ns = fabric.rough_delay_ns(connection, route)
        if route.links:
            begin_ns = end_ns = connection.departure_ns + route.delay_ns + extra_ns
            for link in route.links:
                passed = link.transmit(end_ns, 1, size_bytes)
                if passed is None:
                    self.cause = "link queue full"
                    return None
                end_ns = passed[1]
            extra_ns += end_ns - begin_ns
        return extra_ns

    def loses_reset(self, connection: Connection) -> bool:
        """Whether a RST on its way to the client is lost."""
        fabric = self.fabric
        hosts = self._exchanges.hosts_of(connection)
        routes = [fabric.route(near, far) for near, far in pairwise(reversed(hosts))]
        return any(fabric.is_lost(connection, route) for route in routes if route is not None and route.loss)

    def _pass(
        self, request: Request, near: Host, far: Host, size_bytes: int, head_ns: int, tail_ns: int
    ) -> int | None:
        """When the train's head reaches the far host, if nothing but the route's delay kept it until `head_ns`; sets its tail."""
        fabric = self.fabric
        connection = request.connection
        route = fabric.route(near, far)
        if route is None:
            self.cause = "no path"
            return None
        packets = max(1, -(-size_bytes // SEGMENT_BYTES))
        repair_ns = 0
        if route.loss:
            lost = sum(fabric.is_lost(connection, route) for _ in range(packets))
            if lost:
                self.cause = "link loss"
                if packets - lost < DUPLICATE_ACKNOWLEDGEMENTS or not connection.is_tcp:
                    return None
                # Packets behind the lost ones report the loss, and one more round trip repairs it.
                fabric.drop("link loss", lost)
                fabric.counts.sent += lost
                request.flags |= _RETRANSMITTED
                if isinstance(connection, MultiplexedConnection):
                    self._exchanges.in_order.repaired(request, connection)
                repair_ns = self._exchanges.round_trip_ns(connection)
        jitter_ns = fabric.rough_delay_ns(connection, route)
        head_ns += jitter_ns
        tail_ns += jitter_ns
        for link in route.links:
            passed = link.transmit(head_ns, packets, size_bytes, tail_ns)
            if passed is None:
                self.cause = "link queue full"
                return None
            head_ns, tail_ns = passed
        request.tail_ns = tail_ns + repair_ns
        return head_ns

    def _time_out(self, sender: Sender | None) -> None:
        """A short message will be sent again when its timer fires; the window of long ones begins anew then (RFC 5681, 3.1)."""
        if sender is not None:
            now = self.fabric.clock.now
            sender.window.timed_out(now, now, INITIAL_WINDOW_SEGMENTS)
