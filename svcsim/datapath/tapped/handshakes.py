"""Handshakes, resets and closes, with a tap on each segment."""

from __future__ import annotations

from svcsim.datapath.admission import Gate
from svcsim.datapath.capture import Point, Tap
from svcsim.datapath.connection import Connection
from svcsim.datapath.conversation import Conversation
from svcsim.datapath.dead import DeadAddresses
from svcsim.datapath.fabric import Fabric
from svcsim.datapath.handshake import Handshakes
from svcsim.datapath.host import Host
from svcsim.datapath.tapped.exchanges import TappedExchanges
from svcsim.linux.address import is_ipv6
from svcsim.linux.frames import ACK, FIN, HOST_UNREACHABLE, PORT_UNREACHABLE, RST
from svcsim.linux.packet import TCP
from svcsim.results.records import Outcome

_KINDS = {Outcome.REFUSED: PORT_UNREACHABLE, Outcome.NO_ROUTE: HOST_UNREACHABLE}
Steps = list[tuple[int, Point | None]]


class TappedHandshakes(Handshakes):
    """Opening and closing."""

    __slots__ = ("_tapped", "tap")

    exchanges: TappedExchanges

    def __init__(self, fabric: Fabric, exchanges: TappedExchanges, gate: Gate, dead: DeadAddresses, tap: Tap) -> None:
        super().__init__(fabric, exchanges, gate, dead)
        self.tap = tap

    def _send_syn(self, connection: Connection) -> None:
        """As it is; from outside the SYN is on the sender's uplink first."""
        now = self._environment._now
        conversation = self.tap.begin(connection)
        parcel = conversation.syn(now, ipv6=is_ipv6(connection.destination))
        host = connection.namespace.host
        super()._send_syn(connection)
        if not host.is_node and connection.entry_host is not host and self.tap.watches([host]):
            hosts = [host, connection.entry_host]
            self.tap.show(conversation, parcel, TCP, [(now, self.tap.right(connection, hosts, 0, None))], forward=True)

    def _on_back_station(self, connection: Connection) -> None:
        """As it is; shows the SYN-ACK or RST on both sides of the host."""
        conversation = self.tap.of(connection)
        if conversation is not None:
            self._show_answer(connection, conversation)
        super()._on_back_station(connection)

    def _show_answer(self, connection: Connection, conversation: Conversation) -> None:
        now, position = self._environment._now, connection.position
        exchanges = self.exchanges
        if position == 0:
            if connection.server is None:
                conversation.answer = conversation.refusal()
            else:
                conversation.answer = conversation.syn_ack(now, ipv6=is_ipv6(connection.destination))
        hosts = exchanges.hosts_of(connection)
        i = len(hosts) - 1 - position
        parcel = conversation.answer
        if parcel is None or i < 0 or not self.tap.watches(hosts[i : i + 1]):
            return
        free, queue, cost_ns, _, _ = connection.backward[position]
        start = free[queue] if free[queue] > now else now
        first, last = exchanges._sides(connection, hosts, i, forward=False)
        send_ns = exchanges._send_ns(connection, forward=False) if position == 0 else 0
        steps: Steps = [(now + send_ns, first)]
        if start - now <= self._backlog_ns:
            steps.append((start + cost_ns + send_ns, last))
        self.tap.show(conversation, parcel, TCP, steps, forward=False)

    def _on_syn_ack(self, connection: Connection) -> None:
        """As it is; the client's kernel acknowledges, or knows nothing of the connection any more."""
        conversation = self.tap.of(connection)
        if conversation is not None and connection.server is not None:
            now = self._environment._now
            conversation.client.seen = conversation.server.following
            if conversation.answer is not None and conversation.answer.header is not None:
                conversation.client.echo = int.from_bytes(conversation.answer.header.options[8:12], "big")
            if connection.client is None:
                header_only = conversation.control(RST, now, forward=True)
                self.exchanges.pass_by(connection, conversation, header_only, now, forward=True)
            elif connection.server_namespace.alive:
                parcel = conversation.control(ACK, now, forward=True)
                self.exchanges.pass_by(connection, conversation, parcel, now, forward=True)
        super()._on_syn_ack(connection)

    def _lost(self, connection: Connection, cause: str) -> None:
        """As it is; says so at the packet."""
        conversation = self.tap.of(connection)
        if conversation is not None:
            self.tap.note(connection, (conversation.opening, conversation.answer), f"lost: {cause}")
        super()._lost(connection, cause)

    def _send_icmp_error(self, connection: Connection, host: Host, delay_ns: int, outcome: Outcome) -> None:
        """As it is; shows the error."""
        conversation = self.tap.of(connection)
        if conversation is not None and conversation.opening is not None:
            at_ns = max(self._environment._now, connection.departure_ns)
            self.exchanges.icmp(connection, host, conversation.opening, _KINDS[outcome], at_ns)
        super()._send_icmp_error(connection, host, delay_ns, outcome)

    def fail(self, connection: Connection, outcome: Outcome) -> None:
        """As it is; the conversation is over."""
        super().fail(connection, outcome)
        self.tap.end(connection)

    def close(self, connection: Connection, *, by_client: bool = True) -> None:
        """As it is; shows both FINs and the last ACK."""
        conversation = self.tap.of(connection)
        if conversation is not None and connection.open:
            self._fins(connection, conversation, by_client=by_client)
        super().close(connection, by_client=by_client)
        self.tap.end(connection)

    def _fins(self, connection: Connection, conversation: Conversation, *, by_client: bool) -> None:
        exchanges = self.exchanges
        at_ns = max(self._environment._now, connection.free_at_ns)
        reachable = connection.server_host.up and connection.server_namespace.alive and connection.server is not None
        first, second = conversation.ends(forward=by_client)
        parcel = conversation.control(FIN | ACK, at_ns, forward=by_client)
        first.following += 1
        at_ns = exchanges.pass_by(connection, conversation, parcel, at_ns, forward=by_client, quick=False)
        if not reachable:
            return
        second.seen = first.following
        parcel = conversation.control(FIN | ACK, at_ns, forward=not by_client)
        second.following += 1
        at_ns = exchanges.pass_by(connection, conversation, parcel, at_ns, forward=not by_client, quick=False)
        first.seen = second.following
        exchanges.pass_by(connection, conversation, conversation.control(ACK, at_ns, forward=by_client), at_ns, forward=by_client)

    def abandon(self, connection: Connection) -> None:
        """As it is; the conversation is over."""
        super().abandon(connection)
        self.tap.end(connection)
