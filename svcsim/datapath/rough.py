"""Paths that are not smooth: jitter, loss, and links of finite bandwidth with a queue.

On such a path each train asks its route what happens to it when it leaves a host. Loss acts on packets: if any of a train is
lost, TCP sends the tail again, after a round trip where later packets tell of the loss (three duplicate acknowledgements), else
after its retransmission time-out. A finite link is a FIFO by arithmetic: the head of a train leaves after its first packet, and
the train's end not before its last one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from svcsim.datapath.connection import Connection, Request
from svcsim.datapath.fabric import Fabric
from svcsim.engine.hop import Step
from svcsim.linux.tcp import SEGMENT_BYTES

if TYPE_CHECKING:
    from svcsim.datapath.exchange import Exchanges
    from svcsim.network.topology import Route


class RoughPath:
    """The steps between hosts on such paths."""

    __slots__ = ("_exchanges", "fabric")

    def __init__(self, fabric: Fabric, exchanges: Exchanges) -> None:
        self.fabric = fabric
        self._exchanges = exchanges

    def forward(self, request: Request, departure_ns: int, delay_ns: int, step: Step) -> None:
        """The request's train leaves a host for the next one, or for the server's socket."""
        connection = request.connection
        hosts = self._exchanges.hosts_of(connection)
        position = request.position
        now = self.fabric.clock.now
        if position < len(hosts):
            route = self.fabric.route(hosts[position - 1], hosts[position])
            extra_ns = self._pass(connection, route, request, request.request_bytes, departure_ns)
            if extra_ns is None:
                self._exchanges.lost(request, "link loss")
                return
            if extra_ns < 0:
                self._exchanges.lost(request, "link queue full")
                return
            delay_ns += extra_ns
        request.callbacks = step
        self.fabric.schedule(request, departure_ns - now + delay_ns)

    def backward(self, request: Request, departure_ns: int, delay_ns: int, step: Step, *, last: bool) -> None:
        """The answer's train leaves a host for the next one, or for the client's socket."""
        if last:
            self._exchanges.deliver(request, departure_ns + delay_ns)
            return
        connection = request.connection
        hosts = self._exchanges.hosts_of(connection)
        near = len(hosts) - request.position
        route = self.fabric.route(hosts[near], hosts[near - 1])
        extra_ns = self._pass(connection, route, request, request.answer_bytes, departure_ns)
        if extra_ns is None:
            self._exchanges.lost_answer(request, "link loss")
            return
        if extra_ns < 0:
            self._exchanges.lost_answer(request, "link queue full")
            return
        request.callbacks = step
        self.fabric.schedule(request, departure_ns - self.fabric.clock.now + delay_ns + extra_ns)

    def _pass(
        self, connection: Connection, route: Route | None, request: Request, size_bytes: int, departure_ns: int
    ) -> int | None:
        """Delay beyond the route's own that the train meets; None if it is lost, -1 if a link's queue has no room."""
        if route is None:
            return None
        fabric = self.fabric
        packets = max(1, -(-size_bytes // SEGMENT_BYTES))
        repair_ns = 0
        if route.loss:
            lost = 0
            for _ in range(packets):
                connection.ordinal += 1
                if fabric.loss.uniform(connection.key, connection.ordinal) < route.loss:
                    lost += 1
            if lost:
                if packets - lost < 3 or not connection.is_tcp:
                    return None
                # Later packets report the loss: one more round trip repairs it.
                fabric.drop("link loss", lost)
                fabric.counts.sent += lost
                repair_ns = 2 * route.delay_ns
        extra_ns = repair_ns + fabric.rough_delay_ns(connection, route)
        at_ns = departure_ns + route.delay_ns + extra_ns
        for link in route.links:
            passed = link.transmit(at_ns, packets, min(size_bytes, packets * SEGMENT_BYTES))
            if passed is None:
                return -1
            extra_ns += passed - at_ns
            at_ns = passed
        return extra_ns
