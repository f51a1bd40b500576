"""Datagrams and what answers them, with a tap on each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from svcsim.datapath.admission import Gate
from svcsim.datapath.capture import Tap
from svcsim.datapath.connection import Connection, Request
from svcsim.datapath.conversation import Parcel
from svcsim.datapath.datagram import Datagrams
from svcsim.datapath.fabric import Fabric
from svcsim.datapath.host import Host
from svcsim.datapath.tapped.exchanges import TappedExchanges
from svcsim.linux.frames import HOST_UNREACHABLE, PORT_UNREACHABLE
from svcsim.linux.packet import Hook
from svcsim.results.records import Outcome

if TYPE_CHECKING:
    from svcsim.engine.hop import Step
    from svcsim.network.topology import Route

_KINDS = {Outcome.REFUSED: PORT_UNREACHABLE, Outcome.NO_ROUTE: HOST_UNREACHABLE}


class TappedDatagrams(Datagrams):
    """UDP: datagrams that look their flow up, and ICMP errors."""

    __slots__ = ("_from_pod", "tap")

    exchanges: TappedExchanges

    def __init__(self, fabric: Fabric, exchanges: TappedExchanges, gate: Gate, tap: Tap) -> None:
        super().__init__(fabric, exchanges, gate)
        self.tap = tap
        self._from_pod = False

    def send(self, request: Request) -> None:
        """As it is; the message becomes a datagram."""
        conversation = self.tap.begin(request.connection)
        self.exchanges.message(conversation, request, forward=True)
        super().send(request)

    def _travel(self, request: Request, route: Route, step: Step) -> None:
        """As it is; from outside the datagram is on the sender's uplink first."""
        connection = request.connection
        conversation = self.tap.of(connection)
        if step is self._at_entry and conversation is not None:
            train = conversation.there.get(request)
            hosts = [connection.namespace.host, connection.entry_host]
            if train is not None and self.tap.watches(hosts[:1]):
                steps = [(connection.departure_ns, self.tap.right(connection, hosts, 0, None))]
                self.tap.show(conversation, train.parcels[0], connection.protocol, steps, forward=True)
        super()._travel(request, route, step)

    def _enter(self, request: Request, host: Host, hook: Hook) -> None:
        """As it is; tells the gate which datagram it is."""
        self.tap.datagram = request
        super()._enter(request, host, hook)

    def _on_server_host(self, request: Request) -> None:
        """As it is; tells the gate which datagram it is."""
        self.tap.datagram = request
        super()._on_server_host(request)

    def _on_socket(self, request: Request) -> None:
        """As it is; an error from here on is the pod's own."""
        connection = request.connection
        self._from_pod = connection.backend_address in self.fabric.namespaces
        super()._on_socket(request)
        self._from_pod = False
        conversation = self.tap.of(connection)
        if conversation is not None:
            conversation.there.pop(request, None)

    def _send_icmp_error(self, request: Request, host: Host, delay_ns: int, outcome: Outcome) -> None:
        """As it is; shows the error."""
        connection = request.connection
        conversation = self.tap.of(connection)
        if conversation is not None:
            data = self.tap.payload(request, False)
            at_ns = max(self.fabric.clock.now, connection.departure_ns)
            pod = self._from_pod and not connection.server_namespace.is_host
            self.exchanges.icmp(connection, host, Parcel(None, data, 0), _KINDS[outcome], at_ns, pod=pod)
        super()._send_icmp_error(request, host, delay_ns, outcome)

    def close(self, connection: Connection) -> None:
        """As it is; the conversation is over."""
        super().close(connection)
        self.tap.end(connection)
